"""Whether targets, the output and the loss of a model fit together, seen from their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.calls import user_loss
from frostline._keras.layers import ends_of
from frostline._keras.variables import read_value
from frostline.diagnostics.finding import Severity
from frostline.diagnostics.known_loss import known_loss
from frostline.graph.ir import Where

Array = npt.NDArray[Any]

PROBABILITIES = {
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalCrossentropy",
}
"""Losses that take probabilities, or logits where they are told so."""

_TAKES: dict[str, tuple[float, float, Severity]] = {
    "BinaryCrossentropy": (0.0, 1.0, "error"),
    "BinaryFocalCrossentropy": (0.0, 1.0, "error"),
    "KLDivergence": (0.0, 1.0, "warning"),
    "MeanSquaredLogarithmicError": (0.0, math.inf, "warning"),
    "Poisson": (0.0, math.inf, "warning"),
}
"""What targets a loss takes, and how bad others are: beyond them it clips, or has no lowest value."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """One way in which targets, output and loss do not fit.

    Attributes:
        output: Name of the output; "" where there is one.
        fact: What was seen, with figures.
        remedy: What to do about it.
        severity: How bad it is.
        operation: The operation that does it, where it is one alone.
        where: The user's line that does it, where known.
    """

    output: str
    fact: str
    remedy: str
    severity: Severity = "warning"
    operation: str = ""
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The targets of one output, and its loss.

    Attributes:
        output: Name of the output; "" where there is one.
        values: The targets.
        loss: The loss of this output: an object of Keras, a function, or a name.
        shape: Shape of the output, the batch first; None where it is not known.
        given: The targets as they were given.
        weight: What each counts in the loss, for the first axes of the targets; None where all count alike.
    """

    output: str
    values: Array = field(repr=False)
    loss: Any
    shape: tuple[int | None, ...] | None
    given: Any = field(repr=False)

    weight: Array | None = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """The class of a loss of Keras's own; "" of any other, which may do what it likes with targets."""
        known = known_loss(self.loss)
        return known.kind if known is not None else ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a loss of Keras's own is called with: `from_logits`, `axis`, `ignore_class` and the like."""
        known = known_loss(self.loss)
        return known.settings if known is not None else {}

    @property
    def takes_labels(self) -> bool:
        """Whether its loss takes one label for each sample."""
        return self.kind == "SparseCategoricalCrossentropy"

    @property
    def classes(self) -> int | None:
        """How many classes the output has, for a loss of labels; None where that is not known."""
        axis = self.settings.get("axis", -1)
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
            values = self.counting().values.astype("float64")
            apart = np.abs(values - values.mean(axis=0)) if values.size else np.zeros(1)
            return float(np.mean(apart**2 if self.kind == "MeanSquaredError" else apart))
        return None

    @property
    def labels_out_of_range(self) -> Misfit | None:
        """What is wrong with labels that name no class of the output."""
        if not self.takes_labels or self.classes is None or not self.values.size:
            return None
        labels = self.values[self.values != self.settings.get("ignore_class")]
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
        """What is wrong with targets beyond the range that the loss takes, such as that of probabilities."""
        if self.kind not in _TAKES or not self.values.size or self.values.dtype.kind not in "fiu":
            return None
        least, most, severity = _TAKES[self.kind]
        low, high = float(np.min(self.values)), float(np.max(self.values))
        if not (low < least or high > most):  # NaN is another finding's
            return None
        taken = f"from {least:g} to {most:g}" if math.isfinite(most) else f"from {least:g} up"
        return Misfit(
            self.output,
            f"targets reach from {low:.3g} to {high:.3g}, and the loss takes numbers {taken}",
            "scale the targets into that range, or take a loss for any numbers, such as mse",
            severity,
        )

    def masked(self, mask: Any) -> Target:
        """Return the same without weight where the output carries a mask that says that it means nothing."""
        if mask is None or not hasattr(mask, "shape"):
            return self
        kept = np.asarray(read_value(mask)).astype(bool)
        counts = None if self.weight is None else _counts(np.empty(kept.shape), self.weight)
        if counts is not None:
            kept = kept & counts.reshape(counts.shape + (1,) * (kept.ndim - counts.ndim))
        return replace(self, weight=kept.astype("float32"))

    def counting(self) -> Target:
        """Return the same without the targets that count nothing, such as those whose weight is zero."""
        counts = self.counts
        return self if counts.all() else replace(self, values=self.values[counts], weight=None)

    @property
    def counts(self) -> Array:
        """For the first axes of the targets, whether they count."""
        counts = None if self.weight is None else _counts(self.values, self.weight)
        return np.ones(self.values.shape[:1], bool) if counts is None else counts

    def in_range(self) -> Any:
        """Return targets that the loss can be computed with, whatever they were."""
        if self.labels_out_of_range is not None and self.classes is not None:
            return np.clip(self.values, 0, self.classes - 1)
        return np.clip(self.values, 0, 1) if self._raises else self.values

    @property
    def _raises(self) -> bool:
        """Whether a backend may refuse to compute the loss of its numbers."""
        misfit = self.numbers_out_of_range
        return misfit is not None and misfit.severity == "error"


def _counts(values: Array, weight: Array) -> Array | None:
    """Return for the first axes of targets whether they count; None where weights do not fit them."""
    while weight.ndim > 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    fits = 0 < weight.ndim <= values.ndim and weight.shape == values.shape[: weight.ndim]
    return weight != 0 if fits else None


def targets_of(model: Any, y: Any, loss: Any = None, sample_weight: Any = None) -> list[Target]:
    """Return the targets of each output; none where it cannot be told which belongs to which.

    Args:
        model: The model.
        y: Targets as `fit` takes them: an array, or a list or mapping of arrays for several outputs.
        loss: The loss in place of the compiled one.
        sample_weight: Weights of the samples, as `fit` takes them.
    """
    values = by_output(model, y)
    weights = by_output(model, sample_weight) or {}
    losses = by_output(model, user_loss(model) if loss is None else loss)
    if values is None or losses is None or not all(hasattr(one, "shape") for one in values.values()):
        return []
    if set(losses) == {""}:
        losses = dict.fromkeys(values, losses[""])
    shapes = output_shapes(model)
    return [
        Target(
            name,
            np.asarray(read_value(value)),
            losses[name],
            shapes.get(name),
            value,
            _weight(weights.get(name, weights.get(""))),
        )
        for name, value in values.items()
        if losses.get(name) is not None
    ]


def _weight(given: Any) -> Array | None:
    return np.asarray(read_value(given)) if hasattr(given, "shape") else None


def by_output(model: Any, given: Any) -> dict[str, Any] | None:
    """Return what was given for each output by its name, "" for a single one; None where it is not told."""
    if isinstance(given, dict):
        return {str(name): one for name, one in given.items() if one is not None}
    if not isinstance(given, list | tuple):
        return None if given is None else {"": given}
    names = list(output_shapes(model))
    if len(given) != len(names):
        return None
    return {name: one for name, one in zip(names, given, strict=True) if one is not None}


def output_shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
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


def with_targets_in_range(y: Any, targets: list[Target]) -> Any:
    """Return the targets, with those that the loss cannot be computed with put to some that it can."""
    mended = {id(one.given): changed for one in targets if (changed := one.in_range()) is not one.values}
    return keras.tree.map_structure(lambda one: mended.get(id(one), one), y) if mended else y
