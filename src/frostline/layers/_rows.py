"""Which rows of a table train: what a user may write, and how they are found among ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from keras import ops

from frostline.errors import LayerError, listed

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TrainedRows:
    """Which rows of a table train.

    Attributes:
        kind: `none`, `all`, or some: a `range`, or a `list` of them.
        count: How many train.
        start: The first of a range.
        ids: The rows of a list, ascending; None where a weights file brings them.
    """

    kind: Literal["none", "all", "range", "list"]
    count: int
    start: int = 0
    ids: Ids | None = None

    @property
    def some(self) -> bool:
        """Whether some rows train and others do not."""
        return self.kind in ("range", "list")

    def to_config(self) -> Any:
        """Return plain data; of a list it has the length only."""
        if not self.some:
            return self.kind == "all"
        return {"start": self.start, "count": self.count} if self.kind == "range" else {"count": self.count}

    def places(self, ids: Any, row_ids: Any, rows: int) -> tuple[Any, Any]:
        """Find ids among the trained rows.

        Args:
            ids: int tensor of any shape.
            row_ids: The trained rows as a tensor, where they are a list.
            rows: How many rows the table has.

        Returns:
            A bool tensor, true where an id is that of a trained row, and an int tensor with its place among
            them, valid everywhere, right where the first is true.
        """
        # An id that is out of range stays so: it is that of no trained row.
        ids = ops.where((ids < 0) & (ids >= -rows), ids + rows, ids)
        if self.kind == "range":
            place = ops.subtract(ids, self.start)
            nearest = ops.clip(place, 0, self.count - 1)
            return ops.equal(place, nearest), nearest
        known = ops.cast(row_ids, "int32")
        flat = ops.reshape(ops.cast(ids, "int32"), (-1,))
        place = ops.clip(ops.cast(ops.searchsorted(known, flat), "int32"), 0, self.count - 1)
        inside = ops.equal(ops.take(known, place), flat)
        return ops.reshape(inside, ops.shape(ids)), ops.reshape(place, ops.shape(ids))


def trained_rows(train: Any, rows: int, out_of_vocabulary: tuple[int, ...]) -> TrainedRows:
    """Read what a user wrote.

    Args:
        train: False, True, `"oov"`, a slice, a range, a list or array of rows, or a boolean array that is
            true where a row trains; or what `TrainedRows.to_config` gave.
        rows: How many rows the table has.
        out_of_vocabulary: The rows that `"oov"` stands for.

    Raises:
        LayerError: It names no row, or one that there is not.
    """
    if isinstance(train, bool | np.bool_):
        return TrainedRows("all", rows) if train else TrainedRows("none", 0)
    if isinstance(train, dict):
        if "start" in train:
            return TrainedRows("range", train["count"], train["start"])
        return TrainedRows("list", train["count"])
    ids = _ids(train, rows, out_of_vocabulary)
    if len(ids) == 0:
        raise LayerError(
            "no rows to train are named",
            received=_shown(train),
            expected=f"some of the rows 0 to {rows - 1}, or train=False",
        )
    if ids[-1] - ids[0] + 1 == len(ids):
        return TrainedRows("range", len(ids), int(ids[0]))
    return TrainedRows("list", len(ids), ids=ids.astype("int32"))


def _ids(train: Any, rows: int, out_of_vocabulary: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the rows, ascending."""
    if isinstance(train, str):
        if train != "oov":
            raise _unreadable(train, rows)
        return np.asarray(out_of_vocabulary, dtype="int64")
    if isinstance(train, slice):
        try:
            return np.sort(np.arange(rows)[train])
        except (TypeError, ValueError):
            raise _unreadable(train, rows) from None
    try:
        ids = np.asarray(list(train) if isinstance(train, range | set | frozenset) else train)
    except ValueError:
        raise _unreadable(train, rows) from None
    if ids.dtype == bool and ids.shape == (rows,):
        return np.flatnonzero(ids)
    if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
        raise _unreadable(train, rows)
    ids = ids.astype("int64")
    outside = [int(n) for n in ids if not 0 <= n < rows]
    if outside:
        raise LayerError(
            "rows to train lie outside the table",
            received=listed(map(str, outside)),
            expected=f"rows from 0 to {rows - 1}",
        )
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise LayerError("rows to train are named twice", received=listed(str(n) for n in unique[counts > 1]))
    return unique


def _unreadable(train: Any, rows: int) -> LayerError:
    return LayerError(
        "train= has an invalid value",
        received=_shown(train),
        expected=f"True, False, 'oov', a slice, a list of rows from 0 to {rows - 1}, or {rows} booleans",
    )


def _shown(train: Any) -> str:
    if isinstance(train, np.ndarray):
        return f"an array of shape {train.shape}, dtype {train.dtype}"
    text = repr(train)
    return text if len(text) <= 60 else f"{text[:60]}..."
