"""What the new rows of a vocabulary start from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.variables import to_numpy
from frostline.errors import GrowingError

Array = npt.NDArray[Any]


class Start(ABC):
    """The first values of new entries along one axis of a weight."""

    @abstractmethod
    def table(self, old: Array, rows: int) -> Array:
        """Return the new rows of the table, (rows, dim), from its old ones, (old rows, dim)."""

    def beside(self, old: Array, rows: int) -> Array:
        """Return the new rows of a weight that grows with the table, such as an output projection.

        Args:
            old: Its old values, the axis that grows first.
            rows: How many rows come to it.
        """
        return self.table(old, rows)


@dataclass(frozen=True)
class Mean(Start):
    """All new rows start as the mean of the old ones."""

    def table(self, old: Array, rows: int) -> Array:
        """Return the mean of all old rows, for each new one."""
        return np.broadcast_to(_mean(old), (rows, *old.shape[1:]))


@dataclass(frozen=True)
class Zeros(Start):
    """All new rows start at zero."""

    def table(self, old: Array, rows: int) -> Array:
        """Return zeros."""
        return np.zeros((rows, *old.shape[1:]), old.dtype)


@dataclass(frozen=True)
class MeanOfPieces(Start):
    """Each new row starts as the mean of some old ones."""

    ids: tuple[tuple[int, ...], ...]

    def table(self, old: Array, rows: int) -> Array:
        """Return the means."""
        return np.stack([_mean(old[list(row)]) for row in self.ids])


@dataclass(frozen=True, eq=False)
class Given(Start):
    """The rows are given; what grows with the table starts at the mean."""

    values: Array

    def table(self, old: Array, rows: int) -> Array:
        """Return the given rows."""
        return self.values

    def beside(self, old: Array, rows: int) -> Array:
        """Return the mean of the old rows, for each new one."""
        return Mean().table(old, rows)


@dataclass(frozen=True)
class Drawn(Start):
    """The rows are drawn by an initializer of Keras; what grows with the table starts at the mean."""

    initializer: Any

    def table(self, old: Array, rows: int) -> Array:
        """Return rows drawn as the last ones of a table of the new size: the spread may depend on that."""
        drawn = self.initializer((len(old) + rows, *old.shape[1:]), dtype="float32")
        return to_numpy(drawn)[len(old) :]

    def beside(self, old: Array, rows: int) -> Array:
        """Return the mean of the old rows, for each new one."""
        return Mean().table(old, rows)


def read_start(initializer: Any, rows: int, shape: tuple[int, ...]) -> Start:
    """Return what an `initializer` means.

    Args:
        initializer: As for `grow_embedding`.
        rows: How many rows are new.
        shape: Of the old table.

    Raises:
        GrowingError: It means nothing, or does not fit.
    """
    if isinstance(initializer, str) and initializer in ("mean", "zeros"):
        return Mean() if initializer == "mean" else Zeros()
    if isinstance(initializer, str | dict | keras.initializers.Initializer | type):
        return Drawn(_known_to_keras(initializer))
    if callable(initializer):
        return _pieces([initializer(row) for row in range(rows)], rows, shape[0])
    if isinstance(initializer, list | tuple) and all(map(_is_ids, initializer)):
        return _pieces(initializer, rows, shape[0])
    return Given(_array(initializer, (rows, *shape[1:])))


def _known_to_keras(initializer: Any) -> Any:
    try:
        known = keras.initializers.get(initializer)
    except (ValueError, TypeError, KeyError):
        known = None
    if callable(known):
        return known
    raise GrowingError(
        "unknown initializer",
        received=repr(initializer),
        expected="'mean', 'zeros', an initializer of Keras, an array of the new rows, or ids of pieces",
    )


def _is_ids(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.ndim == 1 and np.issubdtype(row.dtype, np.integer)
    return isinstance(row, list | tuple | range) and all(map(_is_whole, row))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _pieces(given: Sequence[Any], rows: int, known: int) -> MeanOfPieces:
    if len(given) != rows:
        raise GrowingError(
            f"pieces are given for {len(given)} new rows, but {rows} rows are new",
            expected="one list of ids of old rows for each new one",
        )
    for number, row in enumerate(given):
        if not _is_ids(row) or len(row) == 0:
            raise GrowingError(
                f"the pieces of new row {number} are not ids of old rows",
                received=repr(row)[:80],
                expected="at least one id, such as [101, 7592]",
            )
        outside = [int(one) for one in row if not 0 <= one < known]
        if outside:
            raise GrowingError(
                f"a piece of new row {number} is not an old row",
                received=f"id {outside[0]}",
                expected=f"ids from 0 to {known - 1}",
            )
    return MeanOfPieces(tuple(tuple(int(one) for one in row) for row in given))


def _array(given: Any, shape: tuple[int, ...]) -> Array:
    try:
        values: Array = np.asarray(to_numpy(given) if keras.ops.is_tensor(given) else given)
        numbers = values.dtype.kind == "f" or values.dtype.name == "bfloat16"
    except (TypeError, ValueError):
        values, numbers = np.zeros(0), False
    if not numbers or values.shape != shape:
        array = values.dtype.kind in "fiub" and values.size
        kind = f"dtype {values.dtype}, shape {values.shape}" if array else f"a {type(given).__name__}"
        raise GrowingError(
            "invalid initializer",
            received=kind,
            expected=f"an array of floating-point numbers of shape {shape}, or one of the other initializers",
            remedy="give ids of pieces as lists: ids.tolist()" if values.dtype.kind in "iu" else None,
        )
    broken = np.flatnonzero(~np.isfinite(values.astype("float64")).all(axis=tuple(range(1, values.ndim))))
    if len(broken):
        raise GrowingError(f"new row {int(broken[0])} holds a number that is not finite")
    return values


def _mean(rows: Array) -> Array:
    """Return the mean of rows, summed in float64, so that it is the same on every backend."""
    mean: Array = rows.astype("float64").mean(axis=0)
    return mean
