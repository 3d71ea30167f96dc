"""What does not fit of targets, output and loss, seen from the values of all three."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.calls import mask_of
from frostline._keras.layers import Ending, endings, last_operations
from frostline._keras.variables import to_numpy
from frostline.diagnostics.known_loss import computed
from frostline.diagnostics.own_loss import misfits_of_own_loss
from frostline.diagnostics.own_reach import targets_beyond_own_loss
from frostline.diagnostics.positive_loss import misfits_of_positive_loss
from frostline.diagnostics.reach import NEAR, RANGES, Reach, beyond_reach, span
from frostline.diagnostics.targets import PROBABILITIES, Misfit, Target, by_output, output_shapes
from frostline.graph.ir import Graph
from frostline.render.foreign import exact

Array = npt.NDArray[Any]

_UNLIKE_PROBABILITIES = ("linear", "leaky_relu", "relu", "relu6", "elu", "selu", "gelu", "silu", "tanh")
"""Activations that give what is no chance, too."""

_FAR = 0.1
"""How far from 0 or from 1 chances must stay to be called out of reach."""

_CHANCES = PROBABILITIES | {"CategoricalGeneralizedCrossEntropy", "Dice", "Tversky"}
"""Losses of Keras's own that take an output for probabilities, unless they are told that it is logits."""

_EQUAL = (PROBABILITIES - {"SparseCategoricalCrossentropy"}) | {
    "CategoricalGeneralizedCrossEntropy",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SquaredHinge",
    "Tversky",
}
"""Losses of Keras's own that are lowest where an output equals its target, or goes beyond it.

Others take labels, or compare directions, and are lowest elsewhere.
"""


def output_layers(model: Any) -> dict[str, Any]:
    """Return the layer, or operation, that makes each output, by name as in `Target.output`."""
    return dict(zip(output_shapes(model), last_operations(model), strict=False))


def misfits(model: Any, targets: list[Target], predicted: Any, graph: Graph) -> Iterator[Misfit]:
    """Yield what does not fit, given what the model makes of the same samples.

    Args:
        model: The model.
        targets: The targets of its outputs.
        predicted: What it makes of these samples; None where that is not known.
        graph: The gradient graph of its loss.
    """
    outputs = by_output(model, predicted) or {}
    ends = dict(zip(output_shapes(model), endings(model), strict=False))
    for target in targets:
        given = outputs.get(target.output)
        output = None if given is None else to_numpy(given)
        counting = _judged(target, given, output)
        if (misfit := counting.labels_out_of_range or counting.numbers_out_of_range) is not None:
            yield misfit if target.counts.all() or counting is not target else _also_uncounted(misfit)
        if output is not None and output.dtype.kind == "f" and output.size and np.isfinite(output).all():
            ending = ends.get(target.output, [])
            yield from _of_output(target, counting, output, ending)
            yield from misfits_of_own_loss(target, output, graph)
            if target.kind == "" and (reach := _reach(ending)) is not None:
                yield from targets_beyond_own_loss(target, output, reach)


def _also_uncounted(misfit: Misfit) -> Misfit:
    """Say of targets that include some without weight that the backend computes the loss of these, too."""
    advice = f"{misfit.remedy}; those without weight, too: any that are in range do, as they count nothing"
    return replace(misfit, remedy=advice)


def _judged(target: Target, given: Any, output: Array | None) -> Target:
    """Return the targets that count; all of them where the backend does not take the others as they are."""
    seen = target if given is None else target.masked(mask_of(given))
    counting = seen.counting()
    if counting is seen or output is None or target.kind == "" or not np.isfinite(output).all():
        return counting
    try:
        taken = bool(np.isfinite(to_numpy(computed(target.loss, target.values, output))).all())
    except Exception:  # of the backend, for what stands for no target
        taken = False
    return counting if taken else target


def _of_output(target: Target, counting: Target, output: Array, ending: list[Ending]) -> Iterator[Misfit]:
    activations = [one.activation for one in ending if one.activation != "linear"]
    if target.kind in _CHANCES:
        yield from _probabilities(target, output, ending)
    yield from misfits_of_positive_loss(target, output, ending)
    if activations[:2] == ["softmax", "softmax"]:
        yield Misfit(target.output, "the output is a softmax of a softmax", "take one of them away")
    elif (misfit := _out_of_reach(target, output, ending)) is not None:
        yield misfit
    if _sums_over_batch(output):
        yield Misfit(
            target.output,
            "each column of the output sums to one over the batch, and no row does: the softmax runs over "
            "the samples",
            "let the softmax run over the last axis, axis=-1",
            operation="softmax",
        )
    if (misfit := _several_classes(counting)) is not None:
        yield misfit
    if (reach := _reach(ending)) is not None:
        yield from _ranges(counting, reach)
    if (misfit := _broadcast(target, output)) is not None:
        yield misfit


def _reach(ending: list[Ending]) -> Reach | None:
    """Return the last activation of an output, with what it can give; None where that is any number."""
    activation = next((one.activation for one in ending if one.activation != "linear"), "")
    return Reach(activation, *RANGES[activation]) if activation in RANGES else None


def _probabilities(target: Target, output: Array, ending: list[Ending]) -> Iterator[Misfit]:
    low, high = float(output.min()), float(output.max())
    last = ending[0].activation if ending else ""
    if not target.settings.get("from_logits", False):
        advice = "give the last layer a softmax (a sigmoid for two classes)"
        if target.kind in PROBABILITIES:
            advice = f"give the loss from_logits=True, or {advice.removeprefix('give ')}"
        if low < -NEAR or high > 1 + NEAR:
            fact = f"the output reaches from {low:.3g} to {high:.3g}, and the loss takes it for probabilities"
            yield Misfit(target.output, fact, advice)
        elif last in _UNLIKE_PROBABILITIES:
            # That it lies between 0 and 1 on this batch is chance.
            what = "has no activation" if last == "linear" else f"is a {last}"
            reach = f" {span(last)}" if last in RANGES else ""
            fact = f"the output {what}, so that it may be any number{reach}, and the loss takes it for "
            yield Misfit(target.output, f"{fact}probabilities", advice)
    elif last in ("softmax", "sigmoid"):
        yield Misfit(
            target.output,
            f"the output is a {last}, and the loss, with from_logits=True, takes it for logits",
            "leave from_logits=True out, or the activation",
        )
    elif last in ("relu", "relu6"):
        yield Misfit(
            target.output,
            f"the output is a {last}, and the loss, with from_logits=True, takes it for logits: none of them "
            "is below zero",
            f"take the {last} away: logits are any numbers",
        )


def _out_of_reach(target: Target, output: Array, ending: list[Ending]) -> Misfit | None:
    """Find a last activation that what is in front of it keeps from some of its range."""
    outer, inner = ([one.activation for one in ending] + ["", ""])[:2]
    if outer == "softmax" and output.ndim > 1 and np.abs(output - 1).max() < NEAR and output.shape[-1] == 1:
        return Misfit(
            target.output,
            "the output is a softmax over one unit, which is 1 whatever comes in",
            "take a sigmoid for two classes, or no activation for any number",
        )
    low, high = RANGES.get(inner, (-np.inf, np.inf))
    if outer == "sigmoid":
        least, most = (1 / (1 + np.exp(-bound)) for bound in (low, high))
    elif outer == "softmax":
        others = (output.shape[-1] - 1) * np.exp(low - high)
        least, most = 0.0, 1 / (1 + others)
    else:
        return None
    if least < _FAR and most > 1 - _FAR:
        return None
    if output.min() < least - NEAR or output.max() > most + NEAR:
        return None  # there is more between the two
    return Misfit(
        target.output,
        f"the output is a {outer} of a {inner}, which stays from {least:.2g} to {most:.2g} (the {inner} is "
        f"in layer {exact(ending[1].operation.name)})",
        f"take the {inner} away",
    )


def _sums_over_batch(output: Array) -> bool:
    if output.ndim != 2 or output.shape[0] < 2 or output.shape[1] < 2 or output.min() < 0:
        return False
    wide = output.astype("float64")
    return bool(np.abs(wide.sum(0) - 1).max() < NEAR and np.abs(wide.sum(1) - 1).min() > NEAR)


def _several_classes(target: Target) -> Misfit | None:
    """Find targets with several classes in a row, or shares that are none, for a loss of one class."""
    values = target.values
    of_one_class = target.kind.startswith("Categorical") and target.kind != "CategoricalHinge"
    if not of_one_class or values.ndim < 2 or values.dtype.kind not in "fiub":
        return None
    sums = values.astype("float64").sum(-1)
    sums = sums[sums != 0]  # rows of zeros are left out on purpose
    if not sums.size or not np.isfinite(sums).all() or np.abs(sums - 1).max() < 100 * NEAR:
        return None
    return Misfit(
        target.output,
        f"targets of a sample sum to {sums.min():.3g} to {sums.max():.3g}, and the loss takes them for one "
        "class, or for chances that sum to 1",
        "several classes at once: take a sigmoid and binary_crossentropy; else divide targets by their sum",
    )


def _ranges(target: Target, reach: Reach) -> Iterator[Misfit]:
    """Find targets that the output cannot equal, for a loss that asks for that."""
    values = target.values
    if target.kind not in _EQUAL or values.dtype.kind not in "fiub" or not values.size:
        return
    if target.kind in PROBABILITIES and target.settings.get("from_logits", False):
        return
    if target.numbers_out_of_range is not None:
        return  # said already
    low, high = float(values.min()), float(values.max())
    if low < reach.least - NEAR or high > reach.most + NEAR:
        yield beyond_reach(target, reach)


def _broadcast(target: Target, output: Array) -> Misfit | None:
    """Find targets of another rank than the output, which a loss stretches to all pairs of samples."""
    values = target.values
    differ = values.ndim != output.ndim and values.size == output.size and len(values) > 1
    if not differ or not isinstance(target.loss, keras.losses.Loss):
        return None
    try:
        as_it_is = float(keras.ops.sum(target.loss(values, output)))
        aligned = float(keras.ops.sum(target.loss(values.reshape(output.shape), output)))
    except Exception:  # a loss of the user's that takes one of the shapes alone stretches nothing
        return None
    if np.isclose(as_it_is, aligned, rtol=1e-3, equal_nan=True):
        return None
    return Misfit(
        target.output,
        f"targets of shape {values.shape} and an output of {output.shape} are stretched to all pairs of "
        "samples",
        f"give the targets the shape of the output: y.reshape({output.shape})",
        "error",
    )
