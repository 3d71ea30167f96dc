"""BLAKE3 digests of arrays, and of arrays with other values at some elements, which are not copied for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from frostline.elements.sets import Elements


def digest_array(values: npt.NDArray[Any]) -> str:
    """Return the BLAKE3 digest, in hexadecimal, of an array's bytes in C order, little endian."""
    return _digest_of((values,))


def is_finite(values: npt.NDArray[Any]) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    if values.dtype.kind not in "fcV":  # NumPy knows bfloat16 and the like as "V"
        return True
    flat = np.ascontiguousarray(values).reshape(-1)
    # In pieces that stay in the cache of a processor.
    return all(bool(np.isfinite(flat[at : at + _PIECE]).all()) for at in range(0, flat.size, _PIECE))


def not_finite(values: npt.NDArray[Any]) -> str:
    """Return the digest of where an array holds NaN or infinity; empty where it holds none."""
    return "" if is_finite(values) else digest_array(np.isfinite(values))


_PIECE = 65_536


def digest_without(values: npt.NDArray[Any], elements: Elements) -> str:
    """Return the digest of an array with zeros at some elements."""
    return _digest_of(elements.blocks(values, 0))


def digest_with(values: npt.NDArray[Any], elements: Elements, part: npt.NDArray[Any]) -> str:
    """Return the digest of an array with other values at some elements."""
    return _digest_of(elements.blocks(values, part))


def _digest_of(blocks: Iterable[npt.NDArray[Any]]) -> str:
    digest = blake3(max_threads=blake3.AUTO)
    for block in blocks:
        contiguous = np.ascontiguousarray(block)
        if contiguous.dtype.byteorder == ">":
            contiguous = contiguous.astype(contiguous.dtype.newbyteorder("<"))
        digest.update(contiguous.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
