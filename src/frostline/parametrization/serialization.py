"""Parametrizations as plain data and arrays, for files; and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from frostline.errors import ParametrizationError
from frostline.files.json_text import as_in_json
from frostline.files.tensor_file import Array
from frostline.parametrization.base import Parametrization
from frostline.parametrization.registry import BY_NAME, NAMES

_IDS, _BITS = "ids", "bits"
"""The two ways in which a mask is kept: places of what is True, or one bit for each element."""


def serialize(how: Parametrization) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a parametrization as data for JSON, and the arrays that go with it, by name.

    Raises:
        ParametrizationError: It is one of the user's own and not registered with Keras, or its settings
            cannot be written as JSON.
    """
    if type(how) not in NAMES:
        return _registered(how), {}
    data: dict[str, Any] = {"kind": NAMES[type(how)]}
    arrays: dict[str, Array] = {}
    for name, value in how.get_config().items():
        if isinstance(value, np.ndarray):
            data["shape"] = list(value.shape)
            arrays |= _arrays_of_mask(name, value)
        else:
            data[name] = value
    return data, arrays


def deserialize(
    data: Mapping[str, Any],
    arrays: Mapping[str, Array],
    custom_objects: Mapping[str, Any] | None = None,
) -> Parametrization:
    """Make a parametrization from what `serialize` returned.

    Args:
        data: The data.
        arrays: The arrays.
        custom_objects: Classes by name, where Keras does not know them.

    Raises:
        ParametrizationError: It is of a class that nothing that was imported registered.
        KeyError, TypeError, ValueError: The data is not what `serialize` returned.
    """
    if not is_own(data):
        return _from_registered(data, custom_objects)
    config = {name: value for name, value in data.items() if name not in ("kind", "shape")}
    for stored, array in arrays.items():
        name, _, form = stored.rpartition("_")
        config[name] = _mask(tuple(data["shape"]), form, array)
    return BY_NAME[data["kind"]].from_config(config)


def is_own(data: Mapping[str, Any]) -> bool:
    """Whether what `serialize` returned is of a class of Frostline's, and not of one that Keras must know."""
    return bool(data["kind"] != "registered")


def _arrays_of_mask(name: str, mask: Array) -> dict[str, Array]:
    ids = np.flatnonzero(mask)
    ids = ids.astype(np.int32 if mask.size < 2**31 else np.int64)
    bits = np.packbits(mask.reshape(-1))
    return {f"{name}_{_IDS}": ids} if ids.nbytes < bits.nbytes else {f"{name}_{_BITS}": bits}


def _mask(shape: tuple[int, ...], form: str, array: Array) -> Array:
    size = int(np.prod(shape, dtype=np.int64))
    if form == _BITS:
        if array.dtype != np.uint8 or array.shape != (-(-size // 8),):
            raise ValueError(f"the bits of a mask of shape {shape} are {_kind_text(array)}")
        return np.unpackbits(array, count=size).astype(bool).reshape(shape)
    if form != _IDS or array.dtype not in (np.int32, np.int64) or array.ndim != 1:
        raise ValueError(f"the places of a mask are {_kind_text(array)}")
    if array.size and not 0 <= array.min() <= array.max() < size:
        raise ValueError(f"a mask of shape {shape} has no element {int(array.max())}")
    mask = np.zeros(size, bool)
    mask[array] = True
    return mask.reshape(shape)


def _kind_text(array: Array) -> str:
    return f"of shape {array.shape} and dtype {array.dtype.name}"


def _registered(how: Parametrization) -> dict[str, Any]:
    # Here and not above: who looks at a file, and has no parametrization of their own, needs no Keras.
    import keras

    kind = type(how)
    name = keras.saving.get_registered_name(kind)
    if keras.saving.get_registered_object(name) is not kind:
        raise ParametrizationError(
            f"{kind.__name__} cannot be written to a file: Keras does not know the class",
            received=f"{kind.__module__}.{kind.__qualname__}",
            expected="a registered class, so that it is found again on loading",
            remedy="give it a method get_config, and put "
            '@keras.saving.register_keras_serializable("my_package") above it',
        )
    config = how.get_config()
    try:
        return {"kind": "registered", "name": name, "config": as_in_json(config)}
    except (TypeError, ValueError) as problem:
        raise ParametrizationError(
            f"the settings of {kind.__name__} cannot be written as JSON",
            received=str(problem),
            expected="numbers, texts, lists and dicts",
            remedy="let get_config return such, and give it a class method from_config that reads them",
        ) from None


def _from_registered(data: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Parametrization:
    import keras

    name, config = str(data["name"]), dict(data["config"])
    kind = keras.saving.get_registered_object(name, custom_objects=dict(custom_objects or {}))
    if kind is None:
        kind = (custom_objects or {}).get(name.rpartition(">")[2])
    if not (isinstance(kind, type) and issubclass(kind, Parametrization)):
        raise ParametrizationError(
            f"a weight was parametrized by {name!r}, which nothing that was imported defines",
            remedy="import the module that defines it first, or give the class in custom_objects",
        )
    return kind.from_config(config)
