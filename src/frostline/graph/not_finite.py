"""The first operation of a computation, forwards or backwards, whose result stops being finite.

Each backend has a module `not_finite` with one function, `first(computation) -> NotFinite | None`; it is
asked only where a loss or a gradient was found not to be finite, and runs the computation operation by
operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from frostline.graph.ir import Where
from frostline.graph.reader import Computation
from frostline.graph.zero_gradient import Zeroing
from frostline.render.tables import count

Array = npt.NDArray[Any]
Call = TypeVar("Call")

_MOST_GIVEN = 3


@dataclass(frozen=True, slots=True)
class NotFinite:
    """The first place at which a number stops being finite.

    Attributes:
        operation: The operation; "" where a number is not finite before anything is computed.
        result: What it gave: not a number, or infinite.
        given: What went into it there, operand by operand, as far as that can be told.
        backward: Whether it is its gradient, by what was given, that is not finite.
        layer: Address of the layer that it runs in, None outside of any.
        where: The user's line.
        source: Name of the input or weight that holds such a number already, else "".
        share: How many numbers of the source are not finite, and of how many.
        is_data: Whether the source is data, and not a weight.
        is_given: Whether what went in was not finite either.
        unseen: Why the place is not known; else "".
    """

    operation: str
    result: float
    given: tuple[float, ...] = ()
    backward: bool = False
    layer: str | None = None
    where: Where | None = None
    source: str = ""
    share: tuple[int, int] = (0, 0)
    is_data: bool = False
    is_given: bool = False
    unseen: str = ""

    @property
    def fact(self) -> str:
        """What happened, in half a sentence."""
        if self.unseen:
            return f"which operation gives it was not seen: {self.unseen}"
        if self.source:
            bad, every = self.share
            return f"{self.source} holds {self.result:g} ({bad:,} of {count(every, 'number')})"
        given = f" for {', '.join(f'{one:.6g}' for one in self.given)}" if self.given else ""
        if self.backward:
            return f"the gradient of {self.operation} is {self.result:g}{given}"
        return f"{self.operation} gives {self.result:g}{given}"


class NotFiniteFinder(Protocol):
    """A module `not_finite` of a backend."""

    def first(self, computation: Computation) -> NotFinite | None:
        """Run the computation operation by operation; None where all of it is finite, or cannot be seen."""

    def zeroing(self, computation: Computation) -> list[Zeroing]:
        """Run the computation operation by operation; where a gradient becomes zero, the last one first."""


class BadResults(Generic[Call]):
    """What is not finite in a computation, and what it was made from, to go back from the end of it.

    A number that is masked out later may well be infinite, so the first one in time need not be the cause.
    Results are told by keys, as each backend has them; these must stay their own while the computation runs.
    """

    def __init__(self) -> None:
        self._made_by: dict[Any, tuple[Call, tuple[Any, ...]]] = {}
        self._meant: dict[Any, tuple[Call, tuple[Any, ...]] | None] = {}

    def add(
        self, key: Any, call: Call, bad_operands: Iterable[Any], *, is_nan: bool, is_literal: bool = False
    ) -> None:
        """Note a result that is not finite, and which of its operands were not.

        An infinity that stands in the program, as masks have it, is meant: not it is the cause, nor what only
        hands it on, but what makes NaN of it.

        Args:
            key: The result.
            call: What made it.
            bad_operands: The operands that are not finite.
            is_nan: Whether the result holds NaN.
            is_literal: Whether an infinity in the program itself is among what it was made from.
        """
        before = tuple(bad_operands)
        if not is_nan and self._meant.keys() >= set(before) and (before or is_literal or key in self._meant):
            self._meant.setdefault(key, (call, before))  # what hands it on unchanged is not what made it
        elif key not in self._made_by:
            self._made_by[key] = call, before

    def mean(self, key: Any) -> None:
        """Note a constant that is infinite; whoever notes it keeps it."""
        self._meant[key] = None

    def cause_of(self, key: Any) -> tuple[Any, Call] | None:
        """Go back from a result to one that was made of finite numbers; None where it is finite.

        A result that is infinite because the program says so goes back to where that came in.
        """
        found, made_by = None, self._made_by if key in self._made_by else self._meant
        while (made := made_by.get(key)) is not None:
            call, before = made
            found = key, call
            key = next((one for one in before if made_by.get(one) is not None), None)
        return found


def first_source(named: Iterable[tuple[str, Any, bool]]) -> NotFinite | None:
    """Return the first of some arrays that is not finite before anything is computed.

    Args:
        named: The name of each, the array, and whether it is data.
    """
    for name, value, is_data in named:
        array = np.asarray(value)
        if array.dtype.kind not in "fc":
            if "float" not in str(array.dtype):
                continue
            array = array.astype("float32")  # one of the small ones that NumPy does not know
        bad = ~np.isfinite(array)
        if bad.any():
            return NotFinite(
                "",
                float(np.real(array[bad].reshape(-1)[0])),
                source=name,
                share=(int(bad.sum()), array.size),
                is_data=is_data,
            )
    return None


def not_finite_at(
    operation: str,
    result: Any,
    operands: Sequence[Any],
    place: tuple[str | None, Where | None],
    *,
    backward: bool = False,
) -> NotFinite:
    """Return what is to be said of a result that is not finite.

    Args:
        operation: What gave it.
        result: It, as an array.
        operands: What the operation took, as arrays.
        place: The layer and the user's line.
        backward: Whether the result is a gradient by one of these.
    """
    array = np.asarray(result)
    # NaN before infinity: a row that is masked out beside it may hold that on purpose.
    bad = found if (found := np.isnan(array)).any() else ~np.isfinite(array)
    first = tuple(int(axis[0]) for axis in np.nonzero(bad)) if array.ndim else ()
    spoilt = not backward and not all(np.isfinite(one).all() for one in operands)
    given = _at(first, array.shape, operands[:_MOST_GIVEN])
    return NotFinite(operation, float(array[first].real), given, backward, *place, is_given=spoilt)


def _at(place: tuple[int, ...], shape: tuple[int, ...], operands: Sequence[Any]) -> tuple[float, ...]:
    """Return the numbers that went in at a place; none where an operand cannot be broadcast to the result."""
    try:
        return tuple(float(np.broadcast_to(np.asarray(one), shape)[place].real) for one in operands)
    except ValueError:
        return ()
