"""Parametrizations that train some elements of a weight and leave all others as they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from frostline.errors import ParametrizationError, listed
from frostline.parametrization.base import Parametrization
from frostline.parametrization.elements import Elements, Grid, Ids, Scattered

Places = slice | int | Sequence[int] | npt.NDArray[Any]
"""Places along one axis: a slice, one place, or several; negative ones count from the end."""


class Selection(Parametrization):
    """Trains some elements. A part holds their values themselves, not differences from the base."""

    keeps_elements: ClassVar[bool] = True
    part: ClassVar[str]
    """The name of the one part."""

    @abstractmethod
    def elements(self, shape: tuple[int, ...]) -> Elements:
        """Return the elements of a weight of that shape that train."""

    def check(self, shape: tuple[int, ...], dtype: str) -> None:
        """Raise `ParametrizationError` where a weight of that shape has no such elements."""
        self.elements(shape)

    def start(self, weight: Any) -> Mapping[str, Any]:
        """Return the elements as they are."""
        return {self.part: self.elements(_shape(weight)).take(weight)}

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        """Return the base with the trained elements in their places."""
        return self.elements(_shape(base)).put(base, parts[self.part])


@dataclass(frozen=True, eq=False)
class Rows(Selection):
    """Trains some rows: entries along the first axis, such as tokens of an embedding.

    Attributes:
        rows: A slice, one place, or several; negative ones count from the end.

    Example:
        >>> Rows(slice(30522, None)).elements((30532, 384)).part_shape
        (10, 384)
        >>> print(Rows([7, 3]))
        rows 3, 7
    """

    part: ClassVar[str] = "rows"
    rows: Places

    def elements(self, shape: tuple[int, ...]) -> Grid:
        """Return the elements in these rows."""
        return _along(0, self.rows, shape, "row")

    def __str__(self) -> str:
        return f"rows {_text(self.rows)}"


@dataclass(frozen=True, eq=False)
class Columns(Selection):
    """Trains some columns: entries along the last axis, such as output units of a Dense or Conv kernel.

    Attributes:
        columns: A slice, one place, or several; negative ones count from the end.

    Example:
        >>> Columns(slice(-2, None)).elements((3, 3, 16, 32)).part_shape
        (3, 3, 16, 2)
    """

    part: ClassVar[str] = "columns"
    columns: Places

    def elements(self, shape: tuple[int, ...]) -> Grid:
        """Return the elements in these columns."""
        return _along(len(shape) - 1, self.columns, shape, "column")

    def __str__(self) -> str:
        return f"columns {_text(self.columns)}"


@dataclass(frozen=True, eq=False)
class Index(Selection):
    """Trains a block: the elements where places along several axes cross.

    Attributes:
        index: For each axis, from the first on, a slice, one place, or several. An axis that is left out at
            the end is taken whole. Axes stay: one place makes an axis of length 1.

    Example:
        >>> Index((slice(0, 2), slice(None, None, 3))).elements((4, 9)).part_shape
        (2, 3)
    """

    part: ClassVar[str] = "block"
    index: tuple[Places, ...]

    def elements(self, shape: tuple[int, ...]) -> Grid:
        """Return the elements in the block."""
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        if not index or len(index) > len(shape):
            raise ParametrizationError(
                f"an index for {len(index)} axes does not fit a weight with {len(shape)}",
                received=f"{self}; a weight of shape {shape}",
                expected=f"one entry for each of up to {len(shape)} axes" if shape else "a weight with axes",
            )
        grids = [_along(n, places, shape, f"place on axis {n}") for n, places in enumerate(index)]
        return Grid(shape, {axis: ids for grid in grids for axis, ids in grid.places.items()})

    def __str__(self) -> str:
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        return f"block [{', '.join(_text(places) for places in index)}]"


@dataclass(frozen=True, eq=False)
class Mask(Selection):
    """Trains the elements where a mask is True. Only these are held and have optimizer slots.

    Attributes:
        mask: A boolean array of the weight's shape.

    Example:
        >>> Mask(np.array([[True, False], [False, True]])).elements((2, 2)).part_shape
        (2,)
    """

    part: ClassVar[str] = "elements"
    mask: npt.NDArray[np.bool_]
    _ids: list[Ids] = field(default_factory=list, init=False, repr=False)

    def elements(self, shape: tuple[int, ...]) -> Scattered:
        """Return the elements where the mask is True."""
        if not self._ids:
            self._require_fit(shape)
            self._ids.append(_smallest(np.flatnonzero(self.mask)))
        elif self.mask.shape != shape:
            self._require_fit(shape)
        return Scattered(shape, self._ids[0])

    def _require_fit(self, shape: tuple[int, ...]) -> None:
        mask = self.mask
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            array = isinstance(mask, np.ndarray)
            kind = f"a mask of dtype {mask.dtype}" if array else f"an object of type {type(mask).__name__}"
            raise ParametrizationError(
                "a mask must be a boolean array, True where an element trains",
                received=kind,
                expected=f"a NumPy array of shape {shape} and dtype bool",
                remedy="write it as a comparison: mask = scores > 0" if array else None,
            )
        if mask.shape != shape:
            raise ParametrizationError(
                "the mask does not have the shape of the weight",
                received=f"a mask of shape {mask.shape}",
                expected=f"shape {shape}",
            )
        if not mask.any():
            raise ParametrizationError(
                "the mask trains nothing: it is False everywhere",
                expected="True where an element trains",
                remedy="freeze the weight instead; a mask with the other meaning is inverted by ~mask",
            )

    def __str__(self) -> str:
        return f"mask of {int(np.count_nonzero(self.mask)):,} elements"


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in tensor.shape)


def _along(axis: int, places: Places, shape: tuple[int, ...], noun: str) -> Grid:
    """Return the elements at some places of one axis."""
    if not shape:
        raise ParametrizationError(
            f"a weight without axes has no {noun}s",
            received=f"{_text(places)}; a weight of shape ()",
            remedy="train it or freeze it as a whole",
        )
    size = shape[axis]
    ids = _of_slice(places, size, noun) if isinstance(places, slice) else _of_list(places, size, noun)
    if len(ids) == 0:
        raise ParametrizationError(
            f"this picks no {noun} of a weight with {size:,}",
            received=_text(places),
            expected=f"at least one {noun} from 0 to {size - 1}",
        )
    return Grid(shape, {axis: ids} if len(ids) < size else {})


def _of_slice(places: slice, size: int, noun: str) -> Ids:
    bounds = (places.start, places.stop, places.step)
    if not all(bound is None or _is_whole(bound) for bound in bounds):
        raise ParametrizationError(
            f"the bounds of a slice of {noun}s must be whole numbers", received=_text(places)
        )
    if places.step == 0:
        raise ParametrizationError("the step of a slice cannot be 0", received=_text(places))
    # NumPy would quietly cut it off, and fewer elements would train than were asked for.
    outside = [b for b in bounds[:2] if b is not None and not -size <= b <= size]
    if outside:
        raise _out_of_range(outside, size, noun, places)
    return _smallest(np.sort(np.arange(size)[places]))


def _of_list(places: Any, size: int, noun: str) -> Ids:
    try:
        ids = np.asarray([places] if _is_whole(places) else places)
    except (TypeError, ValueError):
        ids = np.asarray(None)
    if ids.size == 0 and ids.ndim == 1:
        return _smallest(ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        hint = "a boolean array is a mask: Mask(array)" if ids.dtype == np.bool_ else None
        raise ParametrizationError(
            f"{noun}s must be given as a slice or as whole numbers",
            received=f"{type(places).__name__} {_text(places)}",
            expected="such as slice(10, 20), 3 or [3, 7]",
            remedy=hint,
        )
    outside = [int(n) for n in ids if not -size <= n < size]
    if outside:
        raise _out_of_range(outside, size, noun, places)
    ids = np.where(ids < 0, ids + size, ids)
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise ParametrizationError(
            f"the same {noun} is named more than once",
            received=listed(str(int(n)) for n in unique[counts > 1]),
            expected=f"every {noun} once",
        )
    return _smallest(unique)


def _out_of_range(outside: list[int], size: int, noun: str, places: Any) -> ParametrizationError:
    return ParametrizationError(
        f"{noun} {listed(map(str, outside))} is out of range: the weight has {size:,} {noun}s",
        received=_text(places),
        expected=f"{noun}s from 0 to {size - 1}, or from {-size} to -1 to count from the end",
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _smallest(ids: npt.NDArray[Any]) -> Ids:
    """Return ids in 32 bits where they fit: JAX knows no others by default."""
    small = len(ids) == 0 or int(ids[-1]) < 2**31
    return ids.astype(np.int32 if small else np.int64)


def _text(places: Any) -> str:
    """Write places as they stand in plan files: `30522:`, `3`, `3, 7`."""
    if isinstance(places, slice):
        bounds = ["" if b is None else str(b) for b in (places.start, places.stop)]
        step = f":{places.step}" if places.step is not None else ""
        return ":".join(bounds) + step
    if _is_whole(places):
        return str(int(places))
    try:
        values = sorted(int(n) for n in places)
    except (TypeError, ValueError):
        return repr(places)
    return listed(map(str, values), most=6)
