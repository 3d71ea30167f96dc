"""Which operations take the gradient away from weights, or from units, on these data."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from frostline.backends import dispatch
from frostline.diagnostics.thresholds import DEAD_SHARE
from frostline.graph.reader import Computation, Measured
from frostline.graph.zero_gradient import Zeroing

_WITH_WEIGHTS = (
    "matmul",
    "conv",
    "convolution",
    "conv2d",
    "linear",
    "depthwise_conv",
    "conv_general_dilated",
)
"""Operations whose other operand is zero where units before them are off: the cause stands there."""


def find_zeroing(
    computation: Computation, measured: Measured, trained: Iterable[str], starting: Collection[str]
) -> list[Zeroing]:
    """Return where gradients become zero, where a weight gets none, or a kernel for few of its units.

    Args:
        computation: The computation.
        measured: Its gradients.
        trained: Names of the weights that are to train.
        starting: Names of those whose gradient is zero at the start only.
    """
    if measured.error or not measured.is_finite:
        return []
    asked = (measured.gradients.get(name) for name in trained if name not in starting)
    if not any(one is not None and _is_mostly_zero(one) for one in asked):
        return []
    return dispatch.zeroing(computation)


def cause_of_zero(found: Iterable[Zeroing]) -> Zeroing | None:
    """Return the operation nearest to the loss that takes the whole gradient away; None without one."""
    whole = [one for one in found if one.is_whole]
    own = [one for one in whole if one.operation not in _WITH_WEIGHTS]
    return next(iter(own or whole), None)


def _is_mostly_zero(gradient: np.ndarray) -> bool:
    if gradient.ndim < 2:
        return not gradient.any()
    units = gradient.reshape(-1, gradient.shape[-1])
    return float(np.mean(~units.any(0))) >= DEAD_SHARE
