"""Parametrizations as plain data and arrays, for files; and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from frostline.elements.places import data_of, read_places
from frostline.errors import ParametrizationError
from frostline.files.tensor_file import Array
from frostline.parametrization.adapters import LowRank, Scale
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Columns, Index, Mask, Rows

_IDS, _BITS = "mask_ids", "mask_bits"
"""The two ways in which a mask is kept: places of what is True, or one bit for each element."""


def described(how: Parametrization) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a parametrization as data for JSON, and the arrays that go with it, by name.

    Raises:
        ParametrizationError: It is one of the user's own and not registered with Keras, or its settings
            cannot be written as JSON.
    """
    if type(how) is Rows:
        return {"kind": "rows", "rows": data_of(how.rows)}, {}
    if type(how) is Columns:
        return {"kind": "columns", "columns": data_of(how.columns)}, {}
    if type(how) is Index:
        return {"kind": "index", "index": [data_of(places) for places in how.axes]}, {}
    if type(how) is Mask:
        return {"kind": "mask", "shape": list(how.mask.shape)}, _mask_arrays(how.mask)
    if type(how) is LowRank:
        return {"kind": "low_rank", "rank": how.rank, "alpha": how.alpha, "seed": how.seed}, {}
    if type(how) is Scale:
        return {"kind": "scale", "axis": how.axis}, {}
    return _registered(how), {}


def from_description(
    data: Mapping[str, Any],
    arrays: Mapping[str, Array],
    custom_objects: Mapping[str, Any] | None = None,
) -> Parametrization:
    """Make a parametrization from what `described` returned.

    Args:
        data: The data.
        arrays: The arrays.
        custom_objects: Classes by name, where Keras does not know them.

    Raises:
        ParametrizationError: It is of a class that nothing that was imported registered.
        KeyError, TypeError, ValueError: The data is not what `described` returned.
    """
    kinds: dict[str, Callable[[], Parametrization]] = {
        "rows": lambda: Rows(read_places(data["rows"], "row")),
        "columns": lambda: Columns(read_places(data["columns"], "column")),
        "index": lambda: Index(tuple(read_places(places, "place") for places in data["index"])),
        "mask": lambda: Mask(_mask(tuple(data["shape"]), arrays)),
        "low_rank": lambda: LowRank(data["rank"], data["alpha"], data["seed"]),
        "scale": lambda: Scale(data["axis"]),
        "registered": lambda: _from_registered(data, custom_objects),
    }
    return kinds[data["kind"]]()


def _mask_arrays(mask: Array) -> dict[str, Array]:
    ids = np.flatnonzero(mask)
    ids = ids.astype(np.int32 if mask.size < 2**31 else np.int64)
    bits = np.packbits(mask.reshape(-1))
    return {_IDS: ids} if ids.nbytes < bits.nbytes else {_BITS: bits}


def _mask(shape: tuple[int, ...], arrays: Mapping[str, Array]) -> Array:
    size = int(np.prod(shape, dtype=np.int64))
    if _BITS in arrays:
        return np.unpackbits(arrays[_BITS], count=size).astype(bool).reshape(shape)
    mask = np.zeros(size, bool)
    mask[arrays[_IDS]] = True
    return mask.reshape(shape)


def _registered(how: Parametrization) -> dict[str, Any]:
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
    config = how.get_config()  # type: ignore[attr-defined]  # Keras registers no class without it
    try:
        return {"kind": "registered", "name": name, "config": json.loads(json.dumps(config))}
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
    made = kind.from_config(config) if hasattr(kind, "from_config") else kind(**config)
    assert isinstance(made, Parametrization)
    return made
