"""Named arrays of any dtype of a weight as safetensors, and back; if need be, sealed to the last byte."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from safetensors import SafetensorError, deserialize, safe_open
from safetensors import numpy as safetensors

from frostline.errors import FrostlineError
from frostline.files.json_text import parsed_json
from frostline.files.limits import MOST_TEXT, UnreadableError
from frostline.files.reading import opened
from frostline.files.sealed import SEAL, BrokenSealError

Array = npt.NDArray[Any]

_MOST_HEAD = MOST_TEXT
"""Bytes; the library's own limit."""

_BLANK = "0" * 64
"""Stands in a header for the digest while the digest is taken."""

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
    require_plain_head(raw[: 8 + _MOST_HEAD], len(raw))
    try:
        found = deserialize(raw)  # type: ignore[no-untyped-call]
    except SafetensorError as problem:
        raise UnreadableError(f"it is not a whole safetensors file ({problem})") from None
    return {name: _array(name, **view) for name, view in found}


def require_plain_head(beginning: bytes, size: int) -> None:
    """Look over the head of a safetensors file before its reader does.

    Args:
        beginning: The file, or as much of it as has the head.
        size: How many bytes the file has.

    Raises:
        UnreadableError: It is longer than the file, or than is read, nested too deeply, or is not a head.
    """
    length = int.from_bytes(beginning[:8], "little")
    if _MOST_HEAD < length <= size - 8:
        raise UnreadableError(f"its head is {length:,} bytes long, where at most {_MOST_HEAD:,} are read")
    if len(beginning) < 8 or length > size - 8:
        raise UnreadableError(
            f"it is not a whole safetensors file (its head should have {length:,} bytes, and the file has "
            f"{size:,})"
        )
    try:
        head = parsed_json(beginning[8 : 8 + length])
    except json.JSONDecodeError as problem:
        raise UnreadableError(
            f"it is not a whole safetensors file (its head is not JSON: {problem.msg})"
        ) from None
    if not isinstance(head, dict):
        raise UnreadableError("it is not a whole safetensors file (its head is not a mapping)")


@contextmanager
def opened_tensors(path: Path, error: type[FrostlineError], noun: str) -> Iterator[Any]:
    """Open a safetensors file to read single tensors of it, as `safetensors.safe_open` does.

    Raises:
        FrostlineError: It is not a file that can be read, of the class `error`.
        UnreadableError: It is not whole, or a tensor in it cannot be read; says why in one phrase.
    """
    with opened(path, error, noun) as stream:
        size = os.fstat(stream.fileno()).st_size
        beginning = stream.read(8)
        length = min(int.from_bytes(beginning, "little"), _MOST_HEAD)
        require_plain_head(beginning + stream.read(length), size)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, TypeError, AttributeError, KeyError) as problem:
        raise UnreadableError(str(problem)) from None


def _array(name: str, dtype: str, shape: list[int], data: Any) -> Array:
    known = _DTYPES.get(dtype)
    if known is None:
        raise UnreadableError(f"the tensor {name!r} is of dtype {dtype}, which no weight has")
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
    return dict(parsed_json(raw[8 : 8 + length]).get("__metadata__") or {})


def packed_and_sealed(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file whose header has a digest of all the others.

    Names, dtypes, shapes, places and values count, and the metadata: every byte of the file, with zeros
    where the digest stands.

    Args:
        arrays: Arrays by name.
        metadata: Texts by name, for its header.
    """
    raw = bytearray(packed(arrays, {**metadata, SEAL: _BLANK}))
    place = _place_of_seal(raw, _BLANK)
    assert place is not None
    raw[place : place + len(_BLANK)] = _digest_without(raw, place).encode()
    return bytes(raw)


def require_seal(raw: bytes) -> None:
    """Check that a safetensors file is, byte by byte, what `packed_and_sealed` returned.

    Args:
        raw: What `unpacked` could read.

    Raises:
        BrokenSealError: It is not.
    """
    claimed = metadata_of(raw).get(SEAL)
    place = _place_of_seal(raw, claimed) if claimed is not None and len(claimed) == len(_BLANK) else None
    found = _digest_without(raw, place) if place is not None else ""
    if place is None or found != claimed:
        raise BrokenSealError(claimed, found)


def _place_of_seal(raw: bytes | bytearray, seal: str) -> int | None:
    """Return where a digest stands in a header; None where that is nowhere, or not one place."""
    end = 8 + int.from_bytes(raw[:8], "little")
    before = f'"{SEAL}":"'.encode()
    found = raw.find(before + seal.encode() + b'"', 8, end)
    once = found >= 0 and raw.find(before, found + 1, end) < 0 and raw.find(before, 8, end) == found
    return found + len(before) if once else None


def _digest_without(raw: bytes | bytearray, place: int) -> str:
    """Return the digest of a file with zeros in the place of its own digest, without copying the file."""
    view, digest = memoryview(raw), blake3(max_threads=blake3.AUTO)
    for part in (view[:place], _BLANK.encode(), view[place + len(_BLANK) :]):
        digest.update(part)
    return digest.hexdigest()
