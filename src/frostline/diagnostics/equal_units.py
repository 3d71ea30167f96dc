"""Units that hold the same numbers and get the same gradient: descent never tells them apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

_ALIKE = 1e-5
"""How much gradients of equal units may differ, relative to the largest: by the order of their sums."""


def equal_units(
    values: npt.NDArray[Any],
    gradient: npt.NDArray[Any] | None,
    beside: Iterable[npt.NDArray[Any]] = (),
) -> int:
    """Count the units that another one equals in its numbers, not all zero, and in its gradient.

    Args:
        values: What the weight holds; units are along its last axis.
        gradient: Its gradient, of the same shape.
        beside: What other weights hold for the same units, along their last axis: these must be equal, too.

    Returns:
        How many there are; 0 for a weight without a second axis, or without a gradient that is finite.
    """
    if gradient is None or gradient.ndim < 2 or gradient.shape[-1] < 2 or gradient.dtype.kind not in "f":
        return 0
    units = values.reshape(-1, values.shape[-1]).T
    slopes = gradient.reshape(-1, gradient.shape[-1]).T
    largest = np.abs(slopes).max()
    if not np.isfinite(largest):
        return 0
    others = [one.reshape(-1, one.shape[-1]).T for one in beside]
    _, group = np.unique(np.concatenate([units, *others], axis=1), axis=0, return_inverse=True)
    count = 0
    for number in range(int(group.max()) + 1):
        members = slopes[group.reshape(-1) == number]
        same = len(members) > 1 and np.abs(members - members[0]).max() <= _ALIKE * largest
        alive = members.any() or units[group.reshape(-1) == number].any()
        count += len(members) if same and alive else 0
    return count


def said_of(alike: int, units: int) -> str:
    """Say that some of the units are alike, and what follows."""
    return (
        f"{alike} of {units} units begin with the same numbers and get equal gradients, so that nothing on "
        "this batch tells them apart"
    )
