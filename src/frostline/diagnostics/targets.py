"""Whether targets, the output and the loss of a model fit together, seen from their values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.calls import loss_settings, user_loss
from frostline._keras.layers import ends_of, last_activations, last_operations
from frostline._keras.variables import read_value, to_numpy
from frostline.diagnostics.finding import Severity
from frostline.errors import DataError
from frostline.model.addresses import walk

Array = npt.NDArray[Any]

PROBABILITIES = {
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalCrossentropy",
}
"""Losses that take probabilities, or logits where they are told so."""

_BINARY = {"BinaryCrossentropy", "BinaryFocalCrossentropy"}

_RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, np.inf),
    "exponential": (0.0, np.inf),
}
"""What an activation can give at most."""

_FAR = 0.1
"""How far from 0 or from 1 chances must stay to be called out of reach."""

_NEAR = 1e-4
"""How far sums of probabilities in half precision are from one."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """One way in which targets, output and loss do not fit.

    Attributes:
        output: Name of the output; "" where there is one.
        fact: What was seen, with figures.
        remedy: What to do about it.
        severity: How bad it is.
        operation: The operation that does it, where it is one alone.
    """

    output: str
    fact: str
    remedy: str
    severity: Severity = "warning"
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The targets of one output, and its loss.

    Attributes:
        output: Name of the output; "" where there is one.
        values: The targets.
        loss: The loss of this output: an object of Keras, a function, or a name.
        shape: Shape of the output, the batch first; None where it is not known.
        given: The targets as they were given.
    """

    output: str
    values: Array = field(repr=False)
    loss: Any
    shape: tuple[int | None, ...] | None
    given: Any = field(repr=False)

    @property
    def kind(self) -> str:
        """The class of a loss of Keras's own; "" of any other, which may do what it likes with targets."""
        try:
            loss = keras.losses.get(self.loss) if isinstance(self.loss, str) else self.loss
        except ValueError:
            return ""
        known = loss if hasattr(loss, "__name__") else type(loss)
        if not str(getattr(known, "__module__", "")).startswith("keras."):
            return ""
        name = str(known.__name__)
        return "".join(part.title() for part in name.split("_")) if name.islower() else name

    @property
    def classes(self) -> int | None:
        """How many classes the output has, for a loss of labels; None where that is not known."""
        axis = loss_settings(self.loss).get("axis", -1)
        inside = (
            self.shape is not None and isinstance(axis, int) and -len(self.shape) <= axis < len(self.shape)
        )
        return self.shape[axis] if inside and self.shape else None

    @property
    def loss_of_guessing(self) -> float | None:
        """The loss of even chances, or of the mean of the targets; None where neither is known."""
        if self.kind in PROBABILITIES and "Focal" not in self.kind:
            count = 2 if "Binary" in self.kind else self.classes
            return math.log(count) if count and count > 1 else None
        if self.kind in ("MeanSquaredError", "MeanAbsoluteError") and self.values.dtype.kind in "fiub":
            apart = np.abs(self.values.astype("float64") - self.values.mean(axis=0))
            return float(np.mean(apart**2 if self.kind == "MeanSquaredError" else apart))
        return None

    @property
    def labels_out_of_range(self) -> Misfit | None:
        """What is wrong with labels that name no class of the output."""
        if self.kind != "SparseCategoricalCrossentropy" or self.classes is None or not self.values.size:
            return None
        labels = self.values[self.values != getattr(self.loss, "ignore_class", None)]
        if not labels.size or (labels.min() >= 0 and labels.max() < self.classes):
            return None
        low, high = int(labels.min()), int(labels.max())
        return Misfit(
            self.output,
            f"labels reach from {low} to {high}, and the output has {self.classes} classes, 0 to "
            f"{self.classes - 1}",
            f"count labels from 0, give the last layer {high + 1} units, or leave such samples out"
            + ("; for labels that mean no class: ignore_class of the loss" if low < 0 else ""),
            "error",
        )

    @property
    def numbers_out_of_range(self) -> Misfit | None:
        """What is wrong with targets that are not probabilities, for a loss that takes nothing else."""
        if self.kind not in _BINARY or not self.values.size or self.values.dtype.kind not in "fiu":
            return None
        low, high = float(np.min(self.values)), float(np.max(self.values))
        if not (low < 0 or high > 1):  # NaN is another finding's
            return None
        return Misfit(
            self.output,
            f"targets reach from {low:.3g} to {high:.3g}, and the loss takes numbers from 0 to 1",
            "scale the targets into that range, or take a loss for any numbers, such as mse",
            "error",
        )

    def with_weights(self, weights: Mapping[str, Any] | None) -> Target:
        """Return the same without the targets whose weight is zero."""
        weight = None if weights is None else weights.get(self.output)
        if weight is None or not hasattr(weight, "shape"):
            return self
        array = np.asarray(read_value(weight))
        fits = array.ndim <= self.values.ndim and array.shape == self.values.shape[: array.ndim]
        return replace(self, values=self.values[array != 0]) if fits else self

    def in_range(self) -> Any:
        """Return targets that the loss can be computed with, whatever they were."""
        if self.labels_out_of_range is not None and self.classes is not None:
            return np.clip(self.values, 0, self.classes - 1)
        return np.clip(self.values, 0, 1) if self.numbers_out_of_range is not None else self.values


def targets_of(model: Any, y: Any, loss: Any = None) -> list[Target]:
    """Return the targets of each output; none where it cannot be told which belongs to which.

    Args:
        model: The model.
        y: Targets as `fit` takes them: an array, or a list or mapping of arrays for several outputs.
        loss: The loss in place of the compiled one.
    """
    values = _by_output(model, y)
    losses = _by_output(model, user_loss(model) if loss is None else loss)
    if values is None or losses is None or not all(hasattr(one, "shape") for one in values.values()):
        return []
    if set(losses) == {""}:
        losses = dict.fromkeys(values, losses[""])
    shapes = _shapes(model)
    return [
        Target(name, np.asarray(read_value(value)), losses[name], shapes.get(name), value)
        for name, value in values.items()
        if losses.get(name) is not None
    ]


def _by_output(model: Any, given: Any) -> dict[str, Any] | None:
    """Return what was given for each output by its name, "" for a single one; None where it is not told."""
    if isinstance(given, dict):
        return {str(name): one for name, one in given.items() if one is not None}
    if not isinstance(given, list | tuple):
        return None if given is None else {"": given}
    names = list(_shapes(model))
    if len(given) != len(names):
        return None
    return {name: one for name, one in zip(names, given, strict=True) if one is not None}


def _shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
    """Return the shape of each output of a graph of layers by name, "" for a single one; else nothing."""
    ends = ends_of(model, "outputs")
    named = getattr(model, "output", None)  # a Sequential model has none
    if isinstance(named, dict):
        names = sorted(map(str, named))
    else:
        names = [""] if len(ends) == 1 else list(getattr(model, "output_names", []))
    if len(names) != len(ends):  # of a nest in a nest it is not told what is called how
        return {}
    return {name: tuple(end.shape) for name, end in zip(names, ends, strict=True)}


def output_layers(model: Any) -> dict[str, Any]:
    """Return the layer, or operation, that makes each output, by name as in `Target.output`."""
    return dict(zip(_shapes(model), last_operations(model), strict=False))


def with_targets_in_range(y: Any, targets: list[Target]) -> Any:
    """Return the targets, with those that the loss cannot be computed with put to some that it can."""
    mended = {
        id(one.given): one.in_range()
        for one in targets
        if one.labels_out_of_range is not None or one.numbers_out_of_range is not None
    }
    return keras.tree.map_structure(lambda one: mended.get(id(one), one), y) if mended else y


def misfits(model: Any, targets: list[Target], predicted: Any) -> Iterator[Misfit]:
    """Yield what does not fit, given what the model makes of the same samples."""
    outputs = _by_output(model, predicted) or {}
    activations = dict(zip(_shapes(model), last_activations(model), strict=False))
    for target in targets:
        if (misfit := target.labels_out_of_range or target.numbers_out_of_range) is not None:
            yield misfit
        given = outputs.get(target.output)
        output = None if given is None else to_numpy(given)
        if output is not None and output.dtype.kind == "f" and output.size and np.isfinite(output).all():
            yield from _of_output(target, output, activations.get(target.output, []))


def _of_output(target: Target, output: Array, activations: list[str]) -> Iterator[Misfit]:
    if target.kind in PROBABILITIES:
        yield from _probabilities(target, output, activations)
    if activations[:2] == ["softmax", "softmax"]:
        yield Misfit(target.output, "the output is a softmax of a softmax", "take one of them away")
    elif (misfit := _out_of_reach(target, output, activations)) is not None:
        yield misfit
    if _sums_over_batch(output):
        yield Misfit(
            target.output,
            "each column of the output sums to one over the batch, and no row does: the softmax runs over "
            "the samples",
            "let the softmax run over the last axis, axis=-1",
            operation="softmax",
        )
    if (misfit := _several_classes(target)) is not None:
        yield misfit
    yield from _ranges(target, activations)
    if (misfit := _broadcast(target, output)) is not None:
        yield misfit


def _probabilities(target: Target, output: Array, activations: list[str]) -> Iterator[Misfit]:
    low, high = float(output.min()), float(output.max())
    if not getattr(target.loss, "from_logits", False):
        if low < -_NEAR or high > 1 + _NEAR:
            yield Misfit(
                target.output,
                f"the output reaches from {low:.3g} to {high:.3g}, and the loss takes it for probabilities",
                "give the loss from_logits=True, or the last layer a softmax (a sigmoid for two classes)",
            )
    elif activations[:1] in (["softmax"], ["sigmoid"]):
        yield Misfit(
            target.output,
            f"the output is a {activations[0]}, and the loss, with from_logits=True, takes it for logits",
            "leave from_logits=True out, or the activation",
        )


def _out_of_reach(target: Target, output: Array, activations: list[str]) -> Misfit | None:
    """Find a last activation that what is in front of it keeps from some of its range."""
    outer, inner = [*activations, "", ""][:2]
    if outer == "softmax" and output.ndim > 1 and output.shape[-1] == 1:
        return Misfit(
            target.output,
            "the output is a softmax over one unit, which is 1 whatever comes in",
            "take a sigmoid for two classes, or no activation for any number",
        )
    low, high = _RANGES.get(inner, (-np.inf, np.inf))
    if outer == "sigmoid":
        least, most = (1 / (1 + np.exp(-bound)) for bound in (low, high))
    elif outer == "softmax":
        others = (output.shape[-1] - 1) * np.exp(low - high)
        least, most = 0.0, 1 / (1 + others)
    else:
        return None
    if least < _FAR and most > 1 - _FAR:
        return None
    if output.min() < least - _NEAR or output.max() > most + _NEAR:
        return None  # there is more between the two
    return Misfit(
        target.output,
        f"the output is a {outer} of a {inner}, which stays from {least:.2g} to {most:.2g}",
        f"take the {inner} away",
    )


def _sums_over_batch(output: Array) -> bool:
    if output.ndim != 2 or output.shape[0] < 2 or output.shape[1] < 2 or output.min() < 0:
        return False
    wide = output.astype("float64")
    return bool(np.abs(wide.sum(0) - 1).max() < _NEAR and np.abs(wide.sum(1) - 1).min() > _NEAR)


def _several_classes(target: Target) -> Misfit | None:
    """Find targets with several classes in a row, or shares that are none, for a loss of one class."""
    values = target.values
    if not target.kind.startswith("Categorical") or values.ndim < 2 or values.dtype.kind not in "fiub":
        return None
    sums = values.astype("float64").sum(-1)
    sums = sums[sums != 0]  # rows of zeros are left out on purpose
    if not sums.size or not np.isfinite(sums).all() or np.abs(sums - 1).max() < 100 * _NEAR:
        return None
    return Misfit(
        target.output,
        f"targets of a sample sum to {sums.min():.3g} to {sums.max():.3g}, and the loss takes them for one "
        "class, or for chances that sum to 1",
        "several classes at once: take a sigmoid and binary_crossentropy; else divide targets by their sum",
    )


def _ranges(target: Target, activations: list[str]) -> Iterator[Misfit]:
    if target.values.dtype.kind not in "fiub" or "Sparse" in target.kind or not activations:
        return
    if target.kind in PROBABILITIES and getattr(target.loss, "from_logits", False):
        return
    if target.numbers_out_of_range is not None:
        return  # said already
    least, most = _RANGES.get(activations[0], (-np.inf, np.inf))
    low, high = float(target.values.min()), float(target.values.max())
    if low < least - _NEAR or high > most + _NEAR:
        span = f"from {least:g} to {most:g}" if np.isfinite(most) else f"from {least:g} up"
        yield Misfit(
            target.output,
            f"targets reach from {low:.3g} to {high:.3g}, and the output, a {activations[0]}, {span}",
            "scale the targets into that range, or take an activation that reaches them (none: any number)",
        )


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


def require_labels_in_range(model: Any, y: Any, sample_weight: Any = None) -> None:
    """Raise where labels name no class of the output; those of streams are not looked at.

    Nor are labels whose weight is zero, nor any in a model that masks parts of its inputs: both may be meant
    to stand for nothing, and on JAX that works.

    Raises:
        DataError: With the range of the labels, and how many classes there are.
    """
    if _masks(model):
        return
    for target in targets_of(model, y):
        counting = target.with_weights(_by_output(model, sample_weight))
        if (misfit := counting.labels_out_of_range) is not None:
            of_output = f"output {target.output!r} of " if target.output else "output of "
            raise DataError(
                f"labels do not fit the {of_output}the model {model.name!r}",
                received=misfit.fact,
                remedy=misfit.remedy,
            )


def _masks(model: Any) -> bool:
    return any(
        isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False) for layer in walk(model)
    )
