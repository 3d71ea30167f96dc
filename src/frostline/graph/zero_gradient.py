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
        off: For how many units, along the last axis, it handed back zeros for every sample.
        units: How many units there are.
        rows: How many samples, and places in them, it was asked about.
    """

    operation: str
    layer: str | None
    where: Where | None
    off: int
    units: int
    rows: int

    @property
    def is_whole(self) -> bool:
        """Whether no unit was left a gradient."""
        return self.off == self.units

    @property
    def fact(self) -> str:
        """What happened, in half a sentence."""
        if self.units > 1:
            return f"{self.operation} hands back zeros for {self.off} of {self.units} units, for every sample"
        return f"{self.operation} hands back zeros, for every sample"


def zeroing_at(
    operation: str, received: Array, given: Array, layer: str | None, where: Where | None
) -> Zeroing | None:
    """Return what an operation did to a gradient, if it took it away from a unit for every sample.

    Args:
        operation: The operation.
        received: The gradient that it was given, by its result.
        given: The one that it handed back, by one of its operands.
        layer: Its layer.
        where: The user's line.
    """
    if not received.any():
        return None
    units = given.shape[-1] if given.ndim > 1 else 1
    rows = given.reshape(-1, units)
    off = ~rows.any(0)
    # A unit that was given nothing is another operation's.
    if received.shape == given.shape:
        off &= received.reshape(-1, units).any(0)
    return Zeroing(operation, layer, where, int(off.sum()), units, len(rows)) if off.any() else None
