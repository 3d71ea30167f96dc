"""How far the first step of an optimizer moves a weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.optimizers import optimizer_chain, rate_schedule
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


def first_step_size(optimizer: Any, gradient: Array, *, warm: bool = False) -> float | None:
    """Return the root mean square of the first step of one weight; None where it is not known.

    Args:
        optimizer: As for `first_steps`.
        gradient: The gradient.
        warm: Whether at the largest rate to come, where a schedule gives it.
    """
    rate = warm_rate(optimizer_chain(optimizer)[-1]) if warm else None
    steps = first_steps(optimizer, {"": gradient}, rate=rate)
    return None if steps is None else root_mean_square(steps[""])


def warm_rate(inner: Any) -> float:
    """Return the rate of an optimizer, the largest to come where a schedule gives it: many begin at zero."""
    schedule, now = rate_schedule(inner), float(to_numpy(inner.learning_rate))
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return now
    done = int(to_numpy(inner.iterations))
    return max(now, *(float(to_numpy(schedule(done + 10**power))) for power in range(6)))


def first_steps(
    optimizer: Any, gradients: Mapping[str, Array], *, rate: float | None = None, clip: bool = True
) -> dict[str, Array] | None:
    """Return what the first step takes from each weight, in float64; None where that is not known.

    Decay is left out, and what an optimizer around it averages or leaves out.

    Args:
        optimizer: The optimizer, or one around it.
        gradients: The gradients of all that it trains: they are clipped together.
        rate: The rate in place of its own.
        clip: Whether to clip them as it does.
    """
    inner = optimizer_chain(optimizer)[-1]
    of = _FIRST_STEPS.get(type(inner).__name__) if type(inner).__module__.startswith("keras.") else None
    if of is None:
        return None
    rate = float(to_numpy(inner.learning_rate)) if rate is None else rate
    wide = {name: _wide(gradient) for name, gradient in gradients.items()}
    given = _clipped(inner, wide) if clip else wide
    return {name: rate * np.sign(g) * of(inner, np.abs(g)) for name, g in given.items()}


def _clipped(inner: Any, gradients: dict[str, Array]) -> dict[str, Array]:
    """Clip gradients as Keras does: by value, each by its norm, or all by that of all together."""
    if (most := getattr(inner, "clipvalue", None)) is not None:
        return {name: np.clip(g, -most, most) for name, g in gradients.items()}
    norms = {name: float(np.linalg.norm(g.ravel())) for name, g in gradients.items()}
    most = inner.clipnorm or inner.global_clipnorm
    if not most:
        return gradients
    if inner.global_clipnorm:
        norms = dict.fromkeys(norms, float(np.linalg.norm(list(norms.values()))))
    return {name: g * (most / max(most, norms[name])) for name, g in gradients.items()}


def root_mean_square(array: Array) -> float:
    """Return the root mean square of an array, computed in float64."""
    return float(np.sqrt(np.mean(np.square(np.abs(_wide(array))))))


def _wide(array: Array) -> Array:
    return array.astype("complex128" if array.dtype.kind == "c" else "float64")
