"""Labels and shapes of targets that no training can go on with, told before it begins."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import user_loss
from frostline._keras.variables import read_value
from frostline.diagnostics.known_loss import computed
from frostline.diagnostics.refused import refused
from frostline.diagnostics.targets import PROBABILITIES, Target, by_output, targets_of
from frostline.errors import DataError
from frostline.model.addresses import walk
from frostline.model.task_data import is_task


def require_shapes(model: Any, y: Any) -> None:
    """Raise where a loss of Keras's own does not take targets of this shape with an output of the model's.

    Args:
        model: The model.
        y: The targets.

    Raises:
        RefusedByLossError: With both shapes, and how to mend that.
    """
    for target in [] if is_task(model) else targets_of(model, y):
        rest = (target.shape or (None, None))[1:]
        if target.kind not in PROBABILITIES or None in rest or not target.values.ndim:
            continue
        sizes = [size for size in rest if size is not None]
        given, output = np.zeros((2, *target.values.shape[1:])), np.zeros((2, *sizes))
        if given.shape == (output.shape[:-1] if target.takes_labels else output.shape):
            continue
        try:
            computed(target.loss, given, output)
        except Exception as error:
            raise refused(model, error, target.loss, target.values, (len(target.values), *sizes)) from error


def require_labels_in_range(
    model: Any, y: Any, sample_weight: Any = None, *, class_weight: Any = None, batch: int = 0
) -> None:
    """Raise where labels name no class of the output.

    Labels whose weight is zero are not looked at, nor any in a model that masks parts of its inputs: both may
    be meant to stand for nothing, and on JAX that works.

    Args:
        model: The model.
        y: The labels.
        sample_weight: Weights of the samples.
        class_weight: Weights of the samples by their label, as `fit` takes them.
        batch: Which batch of a stream they are, counted from one; 0 for all of them.

    Raises:
        DataError: With the range of the labels, and how many classes there are.
    """
    if _masks(model):
        return
    if class_weight is not None and hasattr(y, "shape"):
        sample_weight = _weights_of_classes(y, class_weight)
    for target in targets_of(model, y, sample_weight=sample_weight):
        if (misfit := target.counting().labels_out_of_range) is not None:
            of_output = f"output {target.output!r} of " if target.output else "output of "
            of_batch = f" of batch {batch}, which was not trained on," if batch else ""
            raise DataError(
                f"labels{of_batch} do not fit the {of_output}the model {model.name!r}",
                received=misfit.fact,
                remedy=misfit.remedy,
            )


def _weights_of_classes(y: Any, class_weight: Mapping[int, float]) -> Any:
    """Return the weight of each sample by its label; a class that is not named has weight one."""
    labels = np.asarray(read_value(y))
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] != 1 else labels[..., 0]
    if labels.ndim != 1 or labels.dtype.kind not in "fiub":
        return None
    return np.array([class_weight.get(int(label), 1.0) for label in np.nan_to_num(labels).round()])


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
