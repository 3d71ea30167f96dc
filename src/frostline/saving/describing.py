"""Parametrizations as plain data and arrays, for files; and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from frostline.errors import ParametrizationError
from frostline.parametrization.adapters import LowRank, Scale
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Columns, Index, Mask, Rows
from frostline.saving.tensors import Array

_IDS, _BITS = "mask_ids", "mask_bits"
"""The two ways in which a mask is kept: places of what is True, or one bit for each element."""


def described(how: Parametrization) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a parametrization as data for JSON, and the arrays that go with it, by name.

    Raises:
        ParametrizationError: It is one of the user's own and not registered with Keras, or its settings
            cannot be written as JSON.
    """
    if type(how) is Rows:
        return {"kind": "rows", "rows": _written(how.rows)}, {}
    if type(how) is Columns:
        return {"kind": "columns", "columns": _written(how.columns)}, {}
    if type(how) is Index:
        index = how.index if isinstance(how.index, tuple) else (how.index,)
        return {"kind": "index", "index": [_written(places) for places in index]}, {}
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
        "rows": lambda: Rows(_read(data["rows"])),
        "columns": lambda: Columns(_read(data["columns"])),
        "index": lambda: Index(tuple(_read(places) for places in data["index"])),
        "mask": lambda: Mask(_mask(tuple(data["shape"]), arrays)),
        "low_rank": lambda: LowRank(data["rank"], data["alpha"], data["seed"]),
        "scale": lambda: Scale(data["axis"]),
        "registered": lambda: _from_registered(data, custom_objects),
    }
    return kinds[data["kind"]]()


def _written(places: Any) -> Any:
    """Write places as they stand in plan files: `"30522:"`, 3 or [3, 7]."""
    if isinstance(places, slice):
        bounds = ["" if b is None else str(int(b)) for b in (places.start, places.stop)]
        return ":".join(bounds) + (f":{int(places.step)}" if places.step is not None else "")
    if isinstance(places, int | np.integer):
        return int(places)
    return [int(place) for place in places]


def _read(places: Any) -> slice | int | Sequence[int]:
    if isinstance(places, str):
        return slice(*(int(bound) if bound else None for bound in places.split(":")))
    return list(places) if isinstance(places, list) else int(places)


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
