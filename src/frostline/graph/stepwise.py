"""A computation run operation by operation, and gone back through in the same way, the last one first.

For backends that show each operation while it runs: they add a `Step` for each, and say how their arrays are
looked at. Values are told by their `id`, so whoever adds a step keeps what it took and made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from frostline.graph.ir import Where
from frostline.graph.not_finite import BadResults, NotFinite, not_finite_at
from frostline.graph.zero_gradient import (
    Factor,
    Zeroing,
    Zeros,
    begins_before,
    factors,
    uneven,
    zeroing_at,
)

Array = npt.NDArray[Any]


class Numbers(Protocol):
    """How the values and gradients of a backend are looked at."""

    def wide(self, value: Any) -> Array | None:
        """Return one as an array that NumPy can compute with; None for what no derivative exists by."""

    def ones_like(self, value: Any) -> Any:
        """Return the gradient by a result itself."""

    def zeros_like(self, value: Any) -> Any:
        """Return the gradient by a value that nothing comes back to."""

    def times(self, gradient: Any, shares: Array) -> Any:
        """Return a gradient multiplied element by element."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operation that has run.

    Attributes:
        operation: What users call it.
        layer: Address of the layer that it ran in, None outside of any.
        where: The user's line.
        taken: What it took.
        made: What it made.
        back: From the gradients by what it made, those by what it took; None where there is none, or where
            nothing of it comes from a weight.
    """

    operation: str
    layer: str | None
    where: Where | None
    taken: tuple[Any, ...] = field(repr=False)
    made: tuple[Any, ...] = field(repr=False)
    back: Callable[[Sequence[Any]], Sequence[Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Return:
    """One gradient that a step handed back: by its input at which place, and those that it was given."""

    step: Step
    received: Sequence[Any]
    place: int
    gradient: Any

    @property
    def to(self) -> Any:
        return self.step.taken[self.place]


class Stepwise:
    """The steps of a computation, in their order.

    Args:
        numbers: How values are looked at.
        weights: The names of the weights that are asked about, by the `id` of their values.
        inputs: The `id` of each value that the computation is given, data and variables.
    """

    def __init__(self, numbers: Numbers, weights: Mapping[int, str], inputs: Iterable[int]) -> None:
        self._numbers = numbers
        self._inputs = set(inputs)
        self._behind = {key: frozenset((name,)) for key, name in weights.items()}
        self._steps: list[Step] = []
        self._makers: dict[int, Step] = {}
        self._names: dict[int, tuple[Any, Zeros]] = {}
        self._bad: BadResults[tuple[Any, Step]] = BadResults()

    def is_of_weight(self, value: Any) -> bool:
        """Whether a value is a weight that is asked about, or computed from one."""
        return id(value) in self._behind

    def _hand_on(self, taken: Sequence[Any], made: Sequence[Any]) -> None:
        """Note that values come from the same weights as others."""
        behind = frozenset[str]().union(*(self._behind.get(id(one), frozenset()) for one in taken))
        if behind:
            self._behind.update((id(one), behind) for one in made)

    def add_name(self, value: Any, name: str, factor: Factor) -> None:
        """Note what a value that nothing makes is called."""
        self._names[id(value)] = value, Zeros(name, factor)

    def add_read(self, taken: Sequence[Any], made: Sequence[Any]) -> None:
        """Note what was read of a variable."""
        self._inputs.update(map(id, made))
        for _, zeros in (self._names[id(one)] for one in taken if id(one) in self._names):
            self._names.update((id(one), (one, zeros)) for one in made)
        self._hand_on(taken, made)

    def add(self, step: Step) -> None:
        """Note an operation that has just run."""
        self._steps.append(step)
        self._makers.update((id(one), step) for one in step.made)
        self._hand_on(step.taken, step.made)
        for one in step.made:
            if not self._is_finite(one):
                before = [other for other in step.taken if not self._is_finite(other)]
                for other in before:
                    if (
                        id(other) not in self._makers
                        and id(other) not in self._inputs
                        and not self._is_nan(other)
                    ):
                        self._bad.mean(id(other))
                self._bad.add(id(one), (one, step), map(id, before), is_nan=self._is_nan(one))

    def first_not_finite(self, loss: Any) -> NotFinite | None:
        """Return the first step, forwards or backwards, whose result is not finite."""
        if not self._is_finite(loss):
            found = self._bad.cause_of(id(loss))
            return self._said(found[1][1], found[1][0]) if found else None
        for one in self._backwards(loss):
            if not self._is_finite(one.gradient) and all(map(self._is_finite, one.received)):
                return self._said(one.step, one.gradient, backward=True)
        return None

    def zeroing(self, loss: Any) -> list[Zeroing]:
        """Return where gradients become zero, from the loss on."""
        found: list[tuple[int, Zeroing]] = []
        sums: dict[int, Array] = {}
        cancelled: dict[int, Zeroing] = {}
        for one in self._backwards(loss):
            step, behind = one.step, self._behind[id(one.to)]
            given = self._numbers.wide(one.gradient)
            received = next((wide for r in one.received if (wide := self._numbers.wide(r)) is not None), None)
            if given is None or received is None:
                continue
            place = (step.layer, step.where)
            at = zeroing_at(
                step.operation,
                received,
                given,
                place,
                behind,
                keras.backend.standardize_dtype(one.gradient.dtype),
                self._values(one.to),
            )
            if at is not None:
                found.append((id(one.to), self._with_cause(at, one)))
            before = sums.get(id(one.to))
            sums[id(one.to)] = given if before is None else before + given
            cancelled.pop(id(one.to), None)
            if before is not None and given.any() and not sums[id(one.to)].any():
                cancelled[id(one.to)] = Zeroing(step.operation, step.layer, step.where, behind, cancels=True)
        passed = self._passed_beside({key for key, total in sums.items() if total.any()})
        kept = (at.without(passed.get(key, frozenset())) for key, at in (*found, *cancelled.items()))
        return [one for one in kept if one is not None]

    def _values(self, value: Any) -> Iterator[Array]:
        """Yield what a value holds, and what it was made from unit by unit, as far back as that goes."""
        while (wide := self._numbers.wide(value)) is not None:
            yield wide
            maker = self._makers.get(id(value))
            if maker is None or (value := self._of_shape(maker, wide.shape)) is None:
                return

    def _of_shape(self, step: Step, shape: tuple[int, ...]) -> Any:
        taken = filter(self.is_of_weight, step.taken)
        wide = ((one, self._numbers.wide(one)) for one in taken)
        return next((one for one, array in wide if array is not None and array.shape == shape), None)

    def _passed_beside(self, alive: set[int]) -> dict[int, frozenset[str]]:
        """Return, for each value, the weights to which a gradient goes on from it or from what made it.

        Zeros that come back to such a value take nothing from them: another operation, nearer to them, does.
        """
        passed = {key: self._behind[key] for key in alive if key in self._behind}
        for step in self._steps:
            before = frozenset[str]().union(*(passed.get(id(one), frozenset()) for one in step.taken))
            if before:
                passed.update((id(one), passed.get(id(one), frozenset()) | before) for one in step.made)
        return passed

    def _backwards(self, loss: Any) -> Iterator[_Return]:
        """Go back from the loss, as far as weights are behind."""
        received: dict[int, Any] = {id(loss): self._numbers.ones_like(loss)}
        for step in reversed(self._steps):
            if received.keys().isdisjoint(map(id, step.made)) or not any(map(self.is_of_weight, step.taken)):
                continue
            given = [received[id(o)] if id(o) in received else self._numbers.zeros_like(o) for o in step.made]
            for place, (value, gradient) in enumerate(zip(step.taken, step.back(given), strict=True)):
                if gradient is None or not self.is_of_weight(value):
                    continue
                yield _Return(step, given, place, gradient)
                before = received.get(id(value))
                received[id(value)] = gradient if before is None else before + gradient

    def _with_cause(self, at: Zeroing, one: _Return) -> Zeroing:
        """Return the same with what made zeros of it, where an operand is nothing but zeros."""
        if at.adds_up and not self._has_terms(one):
            at = replace(at, adds_up=False)
        if not at.may_multiply:
            return at
        beside = enumerate(factors(one.step.operation, one.step.taken))
        zeros = self._zeros_among(value for place, value in beside if place != one.place)
        return at.multiplying(self._origin(zeros[0])) if zeros else at

    def _has_terms(self, one: _Return) -> bool:
        """Whether a sum of zero has terms that are not zero: then it is none once they are weighted."""
        shared = [
            received
            if (wide := self._numbers.wide(received)) is None
            else self._numbers.times(received, uneven(wide.shape))
            for received in one.received
        ]
        again = self._numbers.wide(one.step.back(shared)[one.place])
        return again is not None and bool(again.any())

    def _origin(self, value: Any) -> Zeros:
        """Return where zeros began."""
        while id(value) not in self._names:
            maker = self._makers[id(value)]
            operands = [one for one in maker.taken if self._numbers.wide(one) is not None]
            zeros = self._zeros_among(factors(maker.operation, operands))
            if not begins_before(maker.operation, operands, zeros):
                return Zeros.made_by(maker.operation, maker.layer)
            value = zeros[0]
        return self._names[id(value)][1]

    def _zeros_among(self, values: Iterable[Any]) -> list[Any]:
        """Return the values of which it is known whence they are, and that are nothing but zeros."""
        known = (one for one in values if id(one) in self._makers or id(one) in self._names)
        return [one for one in known if self._is_zero(one)]

    def _is_zero(self, value: Any) -> bool:
        wide = self._numbers.wide(value)
        return wide is not None and bool(wide.size) and not wide.any()

    def _is_finite(self, value: Any) -> bool:
        wide = None if value is None else self._numbers.wide(value)
        return wide is None or bool(np.isfinite(wide).all())

    def _is_nan(self, value: Any) -> bool:
        wide = self._numbers.wide(value)
        return wide is not None and bool(np.isnan(wide).any())

    def _is_literal(self, value: Any) -> bool:
        return id(value) not in self._makers and id(value) not in self._inputs

    def _said(self, step: Step, bad: Any, *, backward: bool = False) -> NotFinite:
        operands = [wide for one in step.taken if (wide := self._numbers.wide(one)) is not None]
        result = self._numbers.wide(bad)
        return not_finite_at(step.operation, result, operands, (step.layer, step.where), backward=backward)
