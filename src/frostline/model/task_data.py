"""Data that a model prepares by itself before it trains on them, as KerasHub's tasks do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from frostline._keras.layers import ends_of
from frostline._keras.variables import read_value
from frostline.errors import AuditError, said
from frostline.model.addresses import walk

Samples = tuple[Any, Any, Any]
"""Inputs, targets and weights of samples."""


def is_task(model: Any) -> bool:
    """Whether `fit` of a model prepares the samples that it is given by a preprocessor of the model's own."""
    return callable(getattr(model, "preprocess_samples", None)) and _preprocessor(model) is not None


def layers_beside(model: Any) -> set[int]:
    """Return the `id` of each layer that only prepares data for a model, and takes no part in its loss."""
    import keras

    preprocessor = _preprocessor(model) if is_task(model) else None
    return {id(layer) for layer in walk(preprocessor)} if isinstance(preprocessor, keras.Layer) else set()


def as_trained(model: Any, x: Any, y: Any = None, sample_weight: Any = None) -> Samples:
    """Return samples as the loss of a model sees them in `fit`.

    Those of a task go through its preprocessor, which may make targets and weights, too. What has been
    through it, a mapping with the names of the model's inputs, stays as it is; so do samples for others.

    Args:
        model: The model.
        x: Inputs, as `fit` takes them.
        y: Targets.
        sample_weight: Weights of the samples.

    Raises:
        AuditError: The preprocessor raises.
    """
    import keras

    if x is None or not is_task(model) or _is_prepared(model, x):
        return x, y, sample_weight
    try:
        prepared = model.preprocess_samples(*map(_strings_as_list, (x, y, sample_weight)))
    except Exception as error:
        raise AuditError(
            f"the preprocessor of the model {model.name!r} does not take these samples",
            received=said(error),
            expected="samples as model.fit takes them",
            remedy="see whether model.preprocessor(x) works, or pass what it returns",
        ) from error
    made = keras.utils.unpack_x_y_sample_weight(prepared)
    return keras.tree.map_structure(_as_array, made[0]), *map(_as_arrays, made[1:])


def arrays_of_lists(part: Any) -> Any:
    """Return a nest with each list of strings or numbers, of which each is one sample, as an array."""
    if isinstance(part, tuple):
        return tuple(map(arrays_of_lists, part))
    if isinstance(part, Mapping):
        return {name: arrays_of_lists(one) for name, one in part.items()}
    is_plain = (
        isinstance(part, list) and part and all(isinstance(one, str | bytes | int | float) for one in part)
    )
    return np.asarray(part) if is_plain else part


def _preprocessor(model: Any) -> Any:
    return getattr(model, "preprocessor", None)


def _is_prepared(model: Any, x: Any) -> bool:
    """Whether inputs are what the graph of the model takes, so that no preprocessor would."""
    if not isinstance(x, Mapping):
        return False
    names = {str(end.name) for end in ends_of(model, "inputs")}
    return bool(names) and names <= set(x)


def _strings_as_list(part: Any) -> Any:
    """Return a nest with arrays of strings as lists, which preprocessors take."""
    if isinstance(part, tuple):
        return tuple(map(_strings_as_list, part))
    if isinstance(part, Mapping):
        return {name: _strings_as_list(one) for name, one in part.items()}
    if isinstance(part, np.ndarray) and part.dtype.kind in "USO":
        return [one.decode() if isinstance(one, bytes) else one for one in part.tolist()]
    return part


def _as_arrays(part: Any) -> Any:
    import keras

    return None if part is None else keras.tree.map_structure(_as_array, arrays_of_lists(part))


def _as_array(value: Any) -> Any:
    """Return a tensor, of another framework too, as an array, numbers as narrow as `fit` has them."""
    array = np.asarray(read_value(value))
    return array.astype({"float64": "float32", "int64": "int32"}.get(array.dtype.name, array.dtype))
