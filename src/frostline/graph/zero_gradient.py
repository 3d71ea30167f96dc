"""The operations at which a gradient becomes zero on its way back, unit by unit.

Beside `first`, each backend's module `not_finite` has `zeroing(computation) -> list[Zeroing]`, which is asked
only where a weight gets a gradient of zeros, or one for few of its units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from frostline.graph.ir import Where

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Zeroing:
    """An operation that was given a gradient and handed back zeros.

    Attributes:
        operation: The operation.
        layer: Address of the layer that it runs in, None outside of any.
        where: The user's line.
        weights: Names of the weights behind the operand that got the zeros.
        off: For how many units, along the last axis, it handed back zeros for every sample.
        units: How many units there are.
        rows: How many samples, and places in them, it was asked about; 0 where units of the result are not
            those of the operand.
        cancels: Whether it handed back the negative of what came back to the operand on other ways.
    """

    operation: str
    layer: str | None
    where: Where | None
    weights: frozenset[str]
    off: int = 1
    units: int = 1
    rows: int = 0
    cancels: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether no unit was left a gradient."""
        return self.off == self.units

    @property
    def fact(self) -> str:
        """What happened, in half a sentence."""
        if self.cancels:
            return f"what comes back over {self.operation} cancels what comes back beside it"
        if not self.rows or self.units == 1:
            return f"{self.operation} hands back zeros"
        return f"{self.operation} hands back zeros for {self.off} of {self.units} units, for every sample"


def zeroing_at(
    operation: str,
    received: Array,
    given: Array,
    place: tuple[str | None, Where | None],
    weights: frozenset[str],
) -> Zeroing | None:
    """Return what an operation did to a gradient, if it took it away from a unit for every sample.

    Args:
        operation: The operation.
        received: The gradient that it was given, by its result.
        given: The one that it handed back, by one of its operands.
        place: Its layer and the user's line.
        weights: Names of the weights behind that operand.
    """
    if not received.any():
        return None
    if received.shape != given.shape or given.ndim < 2:
        return None if given.any() else Zeroing(operation, *place, weights)
    units = given.shape[-1]
    # A unit that was given nothing is another operation's.
    off = received.reshape(-1, units).any(0) & ~given.reshape(-1, units).any(0)
    if not off.any():
        return None
    whole = not given.any()
    return Zeroing(operation, *place, weights, units if whole else int(off.sum()), units, given.size // units)
