"""Outputs that are no rates, no distributions or below zero, for losses of Keras's own that take these."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.layers import Ending
from frostline.diagnostics.reach import NEAR, RANGES
from frostline.diagnostics.targets import Misfit, Target

Array = npt.NDArray[Any]

_FAR_FROM_ONE = 0.01
"""How far sums of a distribution over many classes, in half precision, may be from one."""

_MANY = 0.5
"""Of samples without a gradient, above which that is no accident of the start."""

_ANY_NUMBER = ("linear", "leaky_relu", *(name for name, (least, _) in RANGES.items() if least < 0))
"""Activations that may be below zero."""


def misfits_of_positive_loss(target: Target, output: Array, ending: list[Ending]) -> Iterator[Misfit]:
    """Yield what does not fit between an output and a loss that takes numbers above zero alone.

    Args:
        target: The targets, with the loss.
        output: What the model makes of the same samples.
        ending: The activations at its end, last first; none where they are not known.
    """
    match target.kind:
        case "Poisson":
            yield from _rates(target, output, ending)
        case "KLDivergence":
            yield from _distributions(target, output)
        case "MeanSquaredLogarithmicError":
            yield from _below_zero(target, output)


def _rates(target: Target, output: Array, ending: list[Ending]) -> Iterator[Misfit]:
    low, last = float(output.min()), ending[0] if ending else None
    advice = "give the last layer an activation that is above zero: exponential or softplus"
    if low < -NEAR:
        fact = f"the output reaches from {low:.3g} to {output.max():.3g}"
    elif last is None or last.activation not in _ANY_NUMBER or _is_constrained(last.operation):
        return
    else:  # that it is above zero on this batch is chance
        what = "has no activation" if last.activation == "linear" else f"is a {last.activation}"
        fact = f"the output {what}, so that it may be below zero"
    yield Misfit(
        target.output, f"{fact}, and the loss takes it for rates: of others the logarithm is NaN", advice
    )


def _is_constrained(layer: Any) -> bool:
    """Whether the weights of a layer are kept in a range, which may keep its output in one."""
    return getattr(layer, "kernel_constraint", None) is not None


def _distributions(target: Target, output: Array) -> Iterator[Misfit]:
    low, wide = float(output.min()), output.astype("float64")
    advice = "give the last layer a softmax"
    if low < -NEAR:
        yield Misfit(
            target.output,
            f"the output reaches from {low:.3g} to {output.max():.3g}, and the loss takes it for chances "
            "that sum to 1",
            advice,
        )
    elif output.ndim > 1 and not _sums_to_one(wide):
        sums = wide.sum(-1)
        yield Misfit(
            target.output,
            f"rows of the output sum to {sums.min():.3g} to {sums.max():.3g}, and the loss takes them for "
            "chances that sum to 1: of others it is lowest where all are 1, whatever the targets",
            advice,
        )


def _sums_to_one(output: Array) -> bool:
    """Whether each sample is a distribution, over whichever of its axes."""
    axes = range(1, output.ndim)
    chosen = (some for count in axes for some in itertools.combinations(axes, count))
    return any(np.abs(output.sum(some) - 1).max() < _FAR_FROM_ONE for some in chosen)


def _below_zero(target: Target, output: Array) -> Iterator[Misfit]:
    below = int((output < 0).reshape(len(output), -1).any(-1).sum()) if output.ndim else 0
    if not below:
        return
    yield Misfit(
        target.output,
        f"the output is below zero for {below} of {len(output)} samples, where the loss takes it for zero "
        "and gives no gradient",
        "give the last layer an activation that is not below zero, such as softplus",
        "warning" if below >= _MANY * len(output) else "note",
    )
