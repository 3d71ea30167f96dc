"""Whether targets, the output and the loss of a model fit together, seen from their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.calls import user_loss
from frostline._keras.layers import ends_of, last_activations
from frostline._keras.variables import to_numpy
from frostline.diagnostics.finding import Severity
from frostline.errors import DataError

Array = npt.NDArray[Any]

_PROBABILITIES = {
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalCrossentropy",
}
"""Losses that take probabilities, or logits where they are told so."""

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
    """

    output: str
    fact: str
    remedy: str
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class Target:
    """The targets of one output, and its loss.

    Attributes:
        output: Name of the output; "" where there is one.
        values: The targets.
        loss: The loss of this output: an object of Keras, a function, or a name.
        classes: Size of the last axis of the output; None where it is not known.
    """

    output: str
    values: Array
    loss: Any
    classes: int | None

    @property
    def kind(self) -> str:
        """The class of the loss, as Keras names it; that of a function by the class that wraps it."""
        loss = self.loss
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        return "".join(part.title() for part in name.split("_")) if name.islower() else str(name)

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
        """What is wrong with targets that are no probabilities, for a loss that takes nothing else."""
        if not self.kind.startswith("Binary") or not self.values.size or self.values.dtype.kind not in "fiu":
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

    def in_range(self) -> Any:
        """Return targets that the loss can be computed with, whatever they were."""
        if self.labels_out_of_range is not None and self.classes is not None:
            return np.clip(self.values, 0, self.classes - 1)
        return np.clip(self.values, 0, 1) if self.numbers_out_of_range is not None else self.values


def targets_of(model: Any, y: Any, loss: Any = None) -> list[Target]:
    """Return the targets of each output; none where they cannot be told apart, or are no arrays."""
    values = [one for one in keras.tree.flatten(y) if one is not None]
    losses = keras.tree.flatten(user_loss(model) if loss is None else loss)
    losses = losses * len(values) if len(losses) == 1 else losses
    shapes = [tuple(one.shape) for one in ends_of(model, "outputs")]
    names = list(getattr(model, "output_names", ())) if shapes else []
    if not values or len(losses) != len(values) or any(not hasattr(one, "shape") for one in values):
        return []
    known = shapes if len(shapes) == len(values) else [()] * len(values)
    labels = names if len(values) > 1 and len(names) == len(values) else [""] * len(values)
    return [
        Target(name, np.asarray(value), loss, shape[-1] if shape else None)
        for name, value, loss, shape in zip(labels, values, losses, known, strict=True)
    ]


def with_targets_in_range(y: Any, targets: list[Target]) -> Any:
    """Return the targets, with those that the loss cannot be computed with put to some that it can."""
    if not any(one.labels_out_of_range or one.numbers_out_of_range for one in targets):
        return y
    waiting = iter(targets)
    return keras.tree.map_structure(lambda one: None if one is None else next(waiting).in_range(), y)


def misfits(model: Any, targets: list[Target], predicted: Any) -> Iterator[Misfit]:
    """Yield what does not fit, given what the model makes of the same samples."""
    outputs = [to_numpy(one) for one in keras.tree.flatten(predicted)]
    ends = last_activations(model)
    for place, (target, output) in enumerate(zip(targets, outputs, strict=False)):
        if (misfit := target.labels_out_of_range or target.numbers_out_of_range) is not None:
            yield misfit
        if output.dtype.kind == "f" and output.size and np.isfinite(output).all():
            yield from _of_output(target, output, ends[place] if place < len(ends) else [])


def _of_output(target: Target, output: Array, activations: list[str]) -> Iterator[Misfit]:
    if target.kind in _PROBABILITIES:
        yield from _probabilities(target, output, activations)
    if activations[:2] == ["softmax", "softmax"]:
        yield Misfit(target.output, "the output is a softmax of a softmax", "take one of them away")
    if _sums_over_batch(output):
        yield Misfit(
            target.output,
            "each column of the output sums to one over the batch, and no row does: the softmax runs over "
            "the samples",
            "let the softmax run over the last axis, axis=-1",
        )
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


def _sums_over_batch(output: Array) -> bool:
    if output.ndim != 2 or output.shape[0] < 2 or output.shape[1] < 2 or output.min() < 0:
        return False
    wide = output.astype("float64")
    return bool(np.abs(wide.sum(0) - 1).max() < _NEAR and np.abs(wide.sum(1) - 1).min() > _NEAR)


def _ranges(target: Target, activations: list[str]) -> Iterator[Misfit]:
    if target.values.dtype.kind not in "fiub" or "Sparse" in target.kind or not activations:
        return
    if target.kind in _PROBABILITIES and getattr(target.loss, "from_logits", False):
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
    as_it_is = float(keras.ops.sum(target.loss(values, output)))
    aligned = float(keras.ops.sum(target.loss(values.reshape(output.shape), output)))
    if np.isclose(as_it_is, aligned, rtol=1e-3, equal_nan=True):
        return None
    return Misfit(
        target.output,
        f"targets of shape {values.shape} and an output of {output.shape} are stretched to all pairs of "
        "samples",
        f"give the targets the shape of the output: y.reshape({output.shape})",
        "error",
    )


def require_labels_in_range(model: Any, y: Any) -> None:
    """Raise where labels name no class of the output; those of streams are not looked at.

    Raises:
        DataError: With the range of the labels, and how many classes there are.
    """
    for target in targets_of(model, y):
        if (misfit := target.labels_out_of_range) is not None:
            of_output = f"output {target.output!r} of " if target.output else "output of "
            raise DataError(
                f"labels do not fit the {of_output}the model {model.name!r}",
                received=misfit.fact,
                remedy=misfit.remedy,
            )
