"""Whether numbers survive being stored in another dtype, which NumPy and the backends do without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

_PIECE = 1 << 20
"""How many numbers are looked at together: a copy of all of them could double the memory."""


def _finfo(dtype: str) -> Any:
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def most_exact(dtype: str) -> int:
    """Return up to which size a dtype of floating numbers holds every whole number."""
    return int(2 ** (_finfo(dtype).nmant + 1))


def misfit(values: npt.NDArray[Any], dtype: str) -> tuple[int, str] | None:
    """Return the first number that a dtype cannot hold, by its place among all, and why; None for none.

    Floating numbers that are rounded, NaN and infinity are not misfits, and neither are whole numbers that a
    dtype of floating numbers rounds; zeros of a number too small are none either.

    Args:
        values: Numbers.
        dtype: The name of the dtype that is to hold them.
    """
    if values.dtype.kind not in "iuf" or values.dtype.name == dtype:
        return None
    wrong_in = _not_whole_or_too_large if "int" in dtype else _too_large
    flat = np.ascontiguousarray(values).reshape(-1)
    for at, piece in _pieces(flat):
        wrong, why = wrong_in(piece, dtype)
        if wrong.any():
            return at + int(np.argmax(wrong)), why
    return None


def _pieces(flat: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    for at in range(0, flat.size, _PIECE):
        yield at, flat[at : at + _PIECE]


def _too_large(piece: npt.NDArray[Any], dtype: str) -> tuple[npt.NDArray[np.bool_], str]:
    most = float(_finfo(dtype).max)
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = np.isfinite(piece) & (np.abs(piece.astype("float64")) > most)
    return wrong, f"{dtype} ends at {most:.4g}, and beyond it a number becomes infinite"


def _not_whole_or_too_large(piece: npt.NDArray[Any], dtype: str) -> tuple[npt.NDArray[np.bool_], str]:
    info = np.iinfo(dtype)
    why = f"{dtype} holds whole numbers from {info.min:,} to {info.max:,}"
    if piece.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            exact = piece.astype("float64")
            fits = (exact >= float(info.min)) & (exact < float(info.max) + 1.0) & (np.floor(exact) == exact)
        return ~fits, why
    own, wrong = np.iinfo(piece.dtype), np.zeros(piece.shape, bool)
    if own.min < info.min:
        wrong |= piece < info.min
    if own.max > info.max:
        wrong |= piece > info.max
    return wrong, why
