"""The one gate through which NumPy's files are read: `.npy`, and the members of `.npz`.

Their heads are held against their sizes first: NumPy itself makes room for what a head says, and unpickles
what it is told to.
"""

from __future__ import annotations

import math
import os
import tokenize
import warnings
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from frostline.files.limits import PickledError, UnreadableError, shortened

Array = npt.NDArray[Any]

_MOST_HEADER = 4096
"""Bytes, where that of an array of numbers has 128: NumPy takes seconds for some of thirty thousand."""

_PART = 4 << 20
"""Bytes that are read at a time, so that the member of an archive is not in memory twice."""


_MOST_AXES = 32
_LARGEST = 2**62


def read_npy(stream: IO[bytes], size: int) -> Array:
    """Return the array in a `.npy` file.

    Args:
        stream: The file, from its beginning.
        size: How many bytes it has.

    Raises:
        UnreadableError: It is no such file, is not whole, or holds Python objects; says why in one phrase.
    """
    shape, dtype, by_columns = _head(stream, size)
    flat = np.empty(math.prod(shape), dtype)
    room, filled = memoryview(flat.view(np.uint8)), 0  # type: ignore[arg-type]
    while filled < len(room):
        part = stream.read(min(_PART, len(room) - filled))
        if not part:
            raise UnreadableError(f"it ends after {filled:,} bytes of numbers, of {len(room):,}")
        room[filled : filled + len(part)] = part
        filled += len(part)
    return flat.reshape(shape, order="F" if by_columns else "C")


def mapped_npy(stream: IO[bytes]) -> Array:
    """Return the array in a `.npy` file that was opened, without reading its numbers: the disk holds them.

    Raises:
        UnreadableError: As `read_npy`.
    """
    shape, dtype, by_columns = _head(stream, os.fstat(stream.fileno()).st_size)
    if not math.prod(shape):
        return np.empty(shape, dtype)
    # By the descriptor, so that it is the file whose head was read.
    return np.memmap(
        stream, dtype=dtype, mode="r", offset=stream.tell(), shape=shape, order="F" if by_columns else "C"
    )


def _head(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Read a head, and hold it against the size of the file."""
    shape, by_columns, dtype = _read_head(stream)
    if dtype.hasobject:
        raise PickledError("it holds Python objects, which are never unpickled")
    if dtype.fields or dtype.subdtype or not dtype.itemsize:
        raise UnreadableError(f"its head says the dtype {str(dtype)[:60]}, which no array of numbers has")
    if len(shape) > _MOST_AXES or not all(type(n) is int and 0 <= n <= _LARGEST for n in shape):
        raise UnreadableError(f"its head says the shape {shortened(shape, 60)}")
    # NumPy counts the axes that have something, also where another has nothing.
    if math.prod(n or 1 for n in shape) * dtype.itemsize > _LARGEST:
        raise UnreadableError(f"its head says the shape {shortened(shape, 60)}, which no array has")
    said, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if said > there:
        raise UnreadableError(
            f"its head says {said:,} bytes of numbers (shape {shape}, dtype {dtype}), and {there:,} are there"
        )
    return shape, dtype, by_columns


def _read_head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    reading: Any = np.lib.format
    try:
        version = reading.read_magic(stream)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise UnreadableError(f"it is a .npy file of the version {version}")
        _require_length(stream, 2 if version == (1, 0) else 4)
        if version == (1, 0):
            return reading.read_array_header_1_0(stream, max_header_size=_MOST_HEADER)  # type: ignore[no-any-return]
        # Version 3 differs in the encoding of the names of fields, which no array of numbers has.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reading.read_array_header_2_0(stream, max_header_size=_MOST_HEADER)  # type: ignore[no-any-return]
    except UnreadableError:
        raise
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError) as problem:
        raise UnreadableError(_first_line(problem)) from None
    except (tokenize.TokenError, KeyError, IndexError, AttributeError, EOFError) as problem:
        raise UnreadableError(f"its head cannot be read: {_first_line(problem)}") from None


def _require_length(stream: IO[bytes], width: int) -> None:
    """Refuse a long head, which NumPy reads before it looks how long it is."""
    place = stream.tell()
    length = int.from_bytes(stream.read(width), "little")
    stream.seek(place)
    if length > _MOST_HEADER:
        raise UnreadableError(f"its head is {length:,} bytes long, where at most {_MOST_HEADER:,} are read")


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:200]
