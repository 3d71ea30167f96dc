"""How far the first step of an optimizer moves a weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.optimizers import optimizer_chain
from frostline._keras.variables import to_numpy

Array = npt.NDArray[Any]


def _adam(optimizer: Any, size: Array) -> Array:
    """The first moments, corrected, are the gradient and its square; epsilon is added before that."""
    return np.asarray(size / (size + optimizer.epsilon / np.sqrt(1 - optimizer.beta_2)))


_FIRST_STEPS: dict[str, Callable[[Any, Array], Array]] = {
    "SGD": lambda optimizer, size: size,
    **dict.fromkeys(("Adam", "AdamW"), _adam),
    "Adamax": lambda optimizer, size: size / (size + optimizer.epsilon),
    "RMSprop": lambda optimizer, size: size / np.sqrt((1 - optimizer.rho) * size**2 + optimizer.epsilon),
    "Adagrad": lambda optimizer, size: (
        size / np.sqrt(optimizer.initial_accumulator_value + size**2 + optimizer.epsilon)
    ),
    "Lion": lambda optimizer, size: np.sign(size),
}
"""By the class of an optimizer of Keras's, what it multiplies its rate by, given the size of each number of
the gradient. Others do not follow from the gradient alone."""


def first_step_size(optimizer: Any, gradient: Array) -> float | None:
    """Return the root mean square of the first step, decay and momentum left out; None where it is not known.

    Args:
        optimizer: The optimizer, or one around it.
        gradient: The gradient.
    """
    inner = optimizer_chain(optimizer)[-1]
    of = _FIRST_STEPS.get(type(inner).__name__) if type(inner).__module__.startswith("keras.") else None
    if of is None:
        return None
    return float(to_numpy(inner.learning_rate)) * root_mean_square(of(inner, _size(gradient)))


def root_mean_square(array: Array) -> float:
    """Return the root mean square of an array, computed in float64."""
    return float(np.sqrt(np.mean(np.square(_size(array)))))


def _size(array: Array) -> Array:
    return np.asarray(np.abs(array.astype("complex128" if array.dtype.kind == "c" else "float64")))
