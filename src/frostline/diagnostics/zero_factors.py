"""Weights whose gradient is zero at the start only, since another factor beside them begins at zero.

The second factor of LoRA begins at zero, so that the adapted model begins as the original one. Until it has
made a step, the first one gets a gradient of zero in every element, and nothing is wrong with that.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.backends import dispatch
from frostline.diagnostics.moved_weights import values_of, with_values
from frostline.graph.reader import Computation, Measured

_ROUNDING = 1e-7
"""What part of the largest gradient rounding may leave of one that is zero in exact arithmetic."""

Array = npt.NDArray[Any]

_STEP = 1e-3
"""The largest element of what is written for a moment where zeros stand: too little to switch a unit on."""


def zero_at_the_start(
    computation: Computation, measured: Measured, trained: Collection[str]
) -> frozenset[str]:
    """Return the weights whose gradient is zero, and is not once those that are zero have made a step.

    Where there are any that could be, the gradients are computed once more, with a small step against its
    gradient in each weight that is zero in every element. It is taken back, to the bit.

    Args:
        computation: The computation.
        measured: Its gradients.
        trained: Names of the weights that are to train: no other makes a step.
    """
    gradients = {name: g for name, g in measured.gradients.items() if g is not None and np.isfinite(g).all()}
    sleeping = {name for name, gradient in gradients.items() if name in trained and not gradient.any()}
    woken: set[str] = set()
    steps: dict[str, Array] = {}
    new = {name for name, gradient in gradients.items() if name in trained and gradient.any()}
    while sleeping - woken:
        values = values_of(computation, new)
        more = {name: _step(gradients[name]) for name, value in values.items() if not value.any()}
        if not more:
            break
        steps |= more
        with with_values(computation, steps) as moved:
            again = dispatch.measure(moved)
        gradients = {name: g for name, g in again.gradients.items() if g is not None}
        largest = max((float(np.abs(g).max(initial=0)) for g in gradients.values()), default=0.0)
        least = _ROUNDING * largest
        new = {n for n in sleeping - woken if n in gradients and np.abs(gradients[n]).max(initial=0) > least}
        woken |= new
    return frozenset(woken)


def _step(gradient: Array) -> Array:
    against = -gradient.astype("float32")
    return np.asarray(against * (_STEP / np.abs(against).max()))
