"""The first samples of what a model is trained on, where they can be had without consuming any."""

from __future__ import annotations

from typing import Any

import keras

from frostline._keras.layers import ends_of
from frostline.model.task_data import arrays_of_lists


def fixed_batch_size(model: Any) -> int | None:
    """Return the batch size that a model was made for, as stateful recurrent layers ask for; None for any."""
    inputs = ends_of(model, "inputs")
    return next((int(one.shape[0]) for one in inputs if len(one.shape) and one.shape[0] is not None), None)


def first_samples(x: Any, y: Any, sample_weight: Any, *, most: int) -> tuple[Any, Any, Any] | None:
    """Return the first samples of arrays, of tensors or of a PyDataset; None of any other source."""
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0]
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    x, y, sample_weight = map(arrays_of_lists, (x, y, sample_weight))
    parts = keras.tree.flatten((x, y, sample_weight))
    if not all(part is None or (hasattr(part, "shape") and len(part.shape)) for part in parts):
        return None

    def first(part: Any) -> Any:
        return None if part is None else part[:most]

    return tuple(keras.tree.map_structure(first, one) for one in (x, y, sample_weight))
