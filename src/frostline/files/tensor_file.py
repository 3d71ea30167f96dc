"""Named arrays of any dtype of a weight as safetensors, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize
from safetensors import numpy as safetensors

Array = npt.NDArray[Any]

# What safetensors calls the dtypes of weights: its own reader for NumPy knows no bfloat16 and no float8.
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "BOOL": "bool",
}
_DTYPES |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_DTYPES |= {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}


def packed(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a safetensors file.

    Args:
        arrays: Arrays by name.
        metadata: Texts by name, for its header.
    """
    contiguous = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    return safetensors.save(contiguous, metadata=dict(metadata) if metadata else None)  # type: ignore[no-any-return]


def unpacked(raw: bytes) -> dict[str, Array]:
    """Return the arrays in the bytes of a safetensors file, as copies that can be written to.

    Raises:
        ValueError: They are not whole, or of a dtype that no weight has; says why in one phrase.
    """
    try:
        found = deserialize(raw)  # type: ignore[no-untyped-call]
    except SafetensorError as problem:
        raise ValueError(f"it is not a whole safetensors file ({problem})") from None
    return {name: _array(name, **view) for name, view in found}


def _array(name: str, dtype: str, shape: list[int], data: Any) -> Array:
    known = _DTYPES.get(dtype)
    if known is None:
        raise ValueError(f"the tensor {name!r} is of dtype {dtype}, which no weight has")
    return np.frombuffer(data, dtype=numpy_dtype(known)).reshape(shape).copy()


def numpy_dtype(name: str) -> Any:
    """Return the NumPy dtype of a weight's dtype, from `ml_dtypes` where NumPy has none."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))


def metadata_of(raw: bytes) -> dict[str, str]:
    """Return the texts in the header of a safetensors file that `unpacked` could read."""
    length = int.from_bytes(raw[:8], "little")
    return dict(json.loads(raw[8 : 8 + length]).get("__metadata__", {}))
