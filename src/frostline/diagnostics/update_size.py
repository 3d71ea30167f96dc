"""How far the first step of an optimizer moves a weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.optimizers import optimizer_chain
from frostline._keras.variables import to_numpy

_BY_GRADIENT = ("SGD",)
"""Optimizers whose first step is the rate times the gradient."""

_BY_SIGN = ("Adam", "AdamW", "Nadam", "Adamax", "RMSprop", "Lion", "Adadelta", "Adagrad")
"""Those that divide the gradient by its own size, and by epsilon besides; the order of magnitude is alike."""


def first_step_size(optimizer: Any, gradient: npt.NDArray[Any]) -> float | None:
    """Return the root mean square of the first step, in its order of magnitude; None where it is unknown."""
    inner = optimizer_chain(optimizer)[-1]
    kind = type(inner).__name__
    rate = float(to_numpy(inner.learning_rate))
    if kind in _BY_GRADIENT:
        return rate * root_mean_square(gradient)
    if kind in _BY_SIGN:
        size = np.abs(gradient.astype("float64"))
        epsilon = float(getattr(inner, "epsilon", 0.0) or 0.0)
        return rate * root_mean_square(
            np.divide(size, size + epsilon, where=size > 0, out=np.zeros_like(size))
        )
    return None


def root_mean_square(array: npt.NDArray[Any]) -> float:
    """Return the root mean square of an array, computed in float64."""
    wide = array.astype("complex128" if array.dtype.kind == "c" else "float64")
    return float(np.sqrt(np.mean(np.square(np.abs(wide)))))
