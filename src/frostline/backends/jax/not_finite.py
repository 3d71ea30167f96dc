"""The first operation of a computation on JAX whose result, or whose gradient, is not finite.

The jaxpr of the loss is run equation by equation, loops turn by turn; then each step is gone back through by
itself, the last one first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from frostline.backends.jax.internals import parameter, scan_counts, shape_of
from frostline.backends.jax.jaxpr import is_inexact, layer_of, operation_of, place_of, scope_name
from frostline.backends.jax.reader import LossInputs, initial_value
from frostline.backends.jax.tangents import CUSTOM_DERIVATIVE, as_function, inlined_jaxpr
from frostline.graph.ir import Where
from frostline.graph.not_finite import BadResults, NotFinite, not_finite_at
from frostline.graph.reader import Computation
from frostline.graph.watch import Watch
from frostline.graph.zero_gradient import Zeroing, zeroing_at


def first(computation: Computation) -> NotFinite | None:
    """Run the computation forwards and, where its result is finite, backwards."""
    steps, loss = _run(computation)
    if not loss.is_finite:
        return steps.cause_of(loss)
    for step, received, _, gradient in steps.backwards(loss):
        if not _Value(gradient).is_finite and all(_Value(one).is_finite for one in received):
            return step.found(gradient, backward=True)
    return None


def zeroing(computation: Computation) -> list[Zeroing]:
    """Run the computation forwards and backwards, and return where a gradient becomes zero."""
    steps, loss = _run(computation)
    found = []
    for step, received, _, gradient in steps.backwards(loss):
        floating = zip(received, step.made, strict=True)
        given = next((_wide(one) for one, made in floating if made.is_inexact), None)
        if given is not None:
            found.append(zeroing_at(step.operation, given, _wide(gradient), step.layer, step.where))
    found += [Zeroing(step.operation, step.layer, step.where, 1, 1, 1) for step in steps.cancelled]
    return [one for one in found if one is not None]


def _run(computation: Computation) -> tuple[_Steps, _Value]:
    """Run the computation forwards."""
    inputs = LossInputs(computation)
    with Watch(computation, around=lambda address: jax.named_scope(scope_name(address))) as watch:
        watch.fill = initial_value
        closed = jax.make_jaxpr(lambda values: inputs.loss(watch, values))(inputs.values)
    values = [_Value(value, kind == "weight") for _, kind, value in inputs.leaves]
    steps = _Steps()
    (loss,) = steps.run(closed, values, None, None)
    return steps, loss


_Place = tuple[str | None, Where | None]
"""The layer of an operation and the user's line."""


class _Value:
    """An array, told from others that are equal; and whether it is computed from a weight."""

    def __init__(self, array: Any, of_weight: bool = False) -> None:
        self.array, self.of_weight = array, of_weight

    @property
    def is_finite(self) -> bool:
        return not self.is_inexact or bool(jnp.isfinite(self.array).all())

    @property
    def is_inexact(self) -> bool:
        return is_inexact(self.array)


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation: a function of arrays, and what it took and made."""

    operation: str
    layer: str | None
    where: Where | None
    function: Callable[..., Sequence[Any]]
    taken: tuple[_Value, ...]
    made: tuple[_Value, ...]

    def found(self, bad: Any, *, backward: bool = False) -> NotFinite:
        operands = [_wide(one.array) for one in self.taken if one.is_inexact]
        return not_finite_at(
            self.operation, _wide(bad), operands, (self.layer, self.where), backward=backward
        )

    def given_back(self, received: Sequence[Any]) -> list[tuple[_Value, Any]]:
        """Return the gradients by those inputs that come from a weight, from those by the outputs."""
        chosen = [n for n, one in enumerate(self.taken) if one.of_weight and one.is_inexact]
        kept = [n for n, one in enumerate(self.made) if one.is_inexact]

        def of_chosen(*arrays: Any) -> list[Any]:
            every = [one.array for one in self.taken]
            for place, array in zip(chosen, arrays, strict=True):
                every[place] = array
            results = self.function(*every)
            return [results[place] for place in kept]

        _, back = jax.vjp(of_chosen, *(self.taken[place].array for place in chosen))
        gradients = back([received[place] for place in kept])
        return [(self.taken[place], gradient) for place, gradient in zip(chosen, gradients, strict=True)]


class _Steps:
    """Runs a jaxpr and all in it, and keeps the steps in their order."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self.cancelled: list[_Step] = []
        """Steps whose gradient by an input is the negative of what came back to that before."""
        self._bad: BadResults[tuple[Any, _Step]] = BadResults()

    def run(
        self, closed: core.ClosedJaxpr, inputs: Sequence[_Value], layer: str | None, where: Where | None
    ) -> list[_Value]:
        """Run a jaxpr; layer and line are those of what runs it."""
        jaxpr = closed.jaxpr
        values: dict[Any, _Value] = dict(zip(jaxpr.invars, inputs, strict=True))
        values.update((v, _Value(c)) for v, c in zip(jaxpr.constvars, closed.consts, strict=True))

        def of(atom: Any) -> _Value:
            return _Value(atom.val) if isinstance(atom, core.Literal) else values[atom]

        for equation in jaxpr.eqns:
            place = layer_of(equation) or layer, place_of(equation) or where
            taken = [of(atom) for atom in equation.invars]
            inner = None if equation.primitive.name in CUSTOM_DERIVATIVE else inlined_jaxpr(equation)
            if inner is not None:
                made = self.run(inner, taken, *place)
            elif equation.primitive.name in _ENTERED:
                made = _ENTERED[equation.primitive.name](self, equation, taken, place)
            else:
                function, atoms = as_function(jaxpr, equation)
                made = self._step(operation_of(equation), place, function, [values[a] for a in atoms])
            values.update(zip(equation.outvars, made, strict=True))
        return [of(atom) for atom in jaxpr.outvars]

    def cause_of(self, loss: _Value) -> NotFinite | None:
        """Return what made the loss not finite, where operations did."""
        found = self._bad.cause_of(id(loss))
        return found[1][1].found(found[1][0]) if found else None

    def backwards(self, loss: _Value) -> Iterator[tuple[_Step, list[Any], _Value, Any]]:
        """Go back from the loss, as far as weights are behind.

        Yields:
            Each step, the gradients by what it made, and, for each input, it and the gradient by it.
        """
        received: dict[int, Any] = {id(loss): jnp.ones_like(loss.array)}
        for step in reversed(self._steps):
            if received.keys().isdisjoint(map(id, step.made)) or not any(one.of_weight for one in step.taken):
                continue
            at_outputs = [received.get(id(one), _zeros_like(one)) for one in step.made]
            for value, gradient in step.given_back(at_outputs):
                yield step, at_outputs, value, gradient
                before = received.get(id(value))
                received[id(value)] = gradient if before is None else before + gradient
                if before is not None and jnp.any(gradient) and not jnp.any(received[id(value)]):
                    self.cancelled.append(step)

    def _step(
        self,
        operation: str,
        place: _Place,
        function: Callable[..., Sequence[Any]],
        taken: Sequence[_Value],
    ) -> list[_Value]:
        of_weight = any(one.of_weight for one in taken)
        made = [_Value(array, of_weight) for array in function(*(one.array for one in taken))]
        step = _Step(operation, *place, function, tuple(taken), tuple(made))
        self._steps.append(step)
        for one in made:
            if not one.is_finite:
                self._bad.add(id(one), (one.array, step), (id(t) for t in taken if not t.is_finite))
        return made

    # Control flow ---------------------------------------------------------------------------------

    def cond(self, equation: core.JaxprEqn, taken: list[_Value], place: _Place) -> list[_Value]:
        """Run the branch that is chosen."""
        index, *rest = taken
        branches = parameter(equation, "branches")
        return self.run(branches[min(max(int(index.array), 0), len(branches) - 1)], rest, *place)

    def scan(self, equation: core.JaxprEqn, taken: list[_Value], place: _Place) -> list[_Value]:
        """Run each turn by itself."""
        consts, carries = scan_counts(equation)
        fixed, carried, over = taken[:consts], taken[consts : consts + carries], taken[consts + carries :]
        turns = range(parameter(equation, "length"))
        collected: list[list[_Value]] = []
        for turn in reversed(turns) if parameter(equation, "reverse") else turns:
            rows = [self._step("slice", place, _row(turn), [one])[0] for one in over]
            made = self.run(parameter(equation, "jaxpr"), [*fixed, *carried, *rows], *place)
            carried = made[:carries]
            collected.append(made[carries:])
        if parameter(equation, "reverse"):
            collected.reverse()
        outputs = equation.outvars[carries:]
        if not collected:
            return [
                *carried,
                *(_Value(jnp.zeros(shape_of(out).shape, shape_of(out).dtype)) for out in outputs),
            ]
        together = zip(*collected, strict=True)
        return [*carried, *(self._step("stack", place, _stacked, rows)[0] for rows in together)]

    def while_loop(self, equation: core.JaxprEqn, taken: list[_Value], place: _Place) -> list[_Value]:
        """Run turn by turn for as long as the test says."""
        of_test, of_body = parameter(equation, "cond_nconsts"), parameter(equation, "body_nconsts")
        test, body = parameter(equation, "cond_jaxpr"), parameter(equation, "body_jaxpr")
        carried = taken[of_test + of_body :]
        while bool(self.run(test, [*taken[:of_test], *carried], *place)[0].array):
            carried = self.run(body, [*taken[of_test : of_test + of_body], *carried], *place)
        return carried


_ENTERED: dict[str, Callable[..., list[_Value]]] = {
    "cond": _Steps.cond,
    "scan": _Steps.scan,
    "while": _Steps.while_loop,
}


def _row(turn: int) -> Callable[..., Sequence[Any]]:
    return lambda array: (array[turn],)


def _stacked(*rows: Any) -> Sequence[Any]:
    return (jnp.stack(rows),)


def _zeros_like(value: _Value) -> Any:
    return (
        jnp.zeros_like(value.array)
        if value.is_inexact
        else np.zeros(jnp.shape(value.array), jax.dtypes.float0)
    )


def _wide(array: Any) -> Any:
    """Return an array that NumPy itself can compute with."""
    kind = "complex128" if jnp.issubdtype(jnp.result_type(array), jnp.complexfloating) else "float64"
    return np.asarray(array).astype(kind)
