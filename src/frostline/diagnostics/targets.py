"""Whether targets, the output and the loss of a model fit together, seen from their values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.calls import loss_settings, user_loss
from frostline._keras.layers import ends_of
from frostline._keras.variables import read_value
from frostline.diagnostics.finding import Severity
from frostline.errors import DataError
from frostline.graph.ir import Where
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
    def takes_labels(self) -> bool:
        """Whether its loss takes one label for each sample."""
        return self.kind == "SparseCategoricalCrossentropy"

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
        if not self.takes_labels or self.classes is None or not self.values.size:
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
    values = by_output(model, y)
    losses = by_output(model, user_loss(model) if loss is None else loss)
    if values is None or losses is None or not all(hasattr(one, "shape") for one in values.values()):
        return []
    if set(losses) == {""}:
        losses = dict.fromkeys(values, losses[""])
    shapes = output_shapes(model)
    return [
        Target(name, np.asarray(read_value(value)), losses[name], shapes.get(name), value)
        for name, value in values.items()
        if losses.get(name) is not None
    ]


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
    mended = {
        id(one.given): one.in_range()
        for one in targets
        if one.labels_out_of_range is not None or one.numbers_out_of_range is not None
    }
    return keras.tree.map_structure(lambda one: mended.get(id(one), one), y) if mended else y


def require_labels_in_range(model: Any, y: Any, sample_weight: Any = None, *, batch: int = 0) -> None:
    """Raise where labels name no class of the output.

    Labels whose weight is zero are not looked at, nor any in a model that masks parts of its inputs: both may
    be meant to stand for nothing, and on JAX that works.

    Args:
        model: The model.
        y: The labels.
        sample_weight: Weights of the samples.
        batch: Which batch of a stream they are, counted from one; 0 for all of them.

    Raises:
        DataError: With the range of the labels, and how many classes there are.
    """
    if _masks(model):
        return
    for target in targets_of(model, y):
        counting = target.with_weights(by_output(model, sample_weight))
        if (misfit := counting.labels_out_of_range) is not None:
            of_output = f"output {target.output!r} of " if target.output else "output of "
            of_batch = f" of batch {batch}, which was not trained on," if batch else ""
            raise DataError(
                f"labels{of_batch} do not fit the {of_output}the model {model.name!r}",
                received=misfit.fact,
                remedy=misfit.remedy,
            )


def labels_of_batches(model: Any) -> Callable[[Any], None] | None:
    """Return what looks at each batch of a stream before it is trained on; None where no loss takes labels.

    The first call is for the first batch of a training.

    Args:
        model: A compiled model.
    """
    losses = (by_output(model, user_loss(model)) or {}).values()
    if _masks(model) or not any(Target("", _NOTHING, one, None, None).takes_labels for one in losses):
        return None
    seen = itertools.count(1)

    def look(batch: Any) -> None:
        _, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        require_labels_in_range(model, y, sample_weight, batch=next(seen))

    return look


_NOTHING = np.zeros(0)


def _masks(model: Any) -> bool:
    return any(
        isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False) for layer in walk(model)
    )
