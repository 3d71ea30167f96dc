"""Parametrizations that train some elements of a weight and leave all others as they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from frostline.elements.algebra import mask_of
from frostline.elements.places import Places, compact, data_of, ids_of, key_of, read_places, text_of
from frostline.elements.sets import Elements, Grid, Ids, Scattered, smallest
from frostline.errors import ParametrizationError
from frostline.parametrization.base import Parametrization


class Selection(Parametrization):
    """Trains some elements. A part holds their values themselves, not differences from the base."""

    keeps_elements: ClassVar[bool] = True
    part: ClassVar[str]
    """The name of the one part."""

    def __post_init__(self) -> None:
        """Keep arrays as they are now: the caller may write into them later."""
        for name, value in list(vars(self).items()):
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, value.copy())

    @abstractmethod
    def elements(self, shape: tuple[int, ...]) -> Elements:
        """Return the elements of a weight of that shape that train."""

    def check(self, shape: tuple[int, ...], dtype: str) -> None:
        """Raise `ParametrizationError` where a weight of that shape has no such elements."""
        self.elements(shape)

    def start(self, weight: Any) -> Mapping[str, Any]:
        """Return the elements as they are."""
        return {self.part: self.elements(_shape(weight)).take(weight)}

    def part_shapes(self, shape: tuple[int, ...], dtype: str) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Return the shape of the one part, which has the dtype of the weight."""
        return {self.part: (self.elements(shape).part_shape, dtype)}

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        """Return the base with the trained elements in their places."""
        return self.elements(_shape(base)).put(base, parts[self.part])

    @property
    @abstractmethod
    def key(self) -> Any:
        """What tells it from others of its kind; hashable."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.key == other.key

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.key))


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

    def get_config(self) -> dict[str, Any]:
        """Return the rows as they stand in files."""
        return {"rows": data_of(self.rows)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make one of what `get_config` returned."""
        return cls(read_places(config["rows"], "row"))

    @property
    def key(self) -> Any:
        """The rows."""
        return key_of(self.rows)

    def __str__(self) -> str:
        return f"rows {text_of(self.rows)}"


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

    def get_config(self) -> dict[str, Any]:
        """Return the columns as they stand in files."""
        return {"columns": data_of(self.columns)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make one of what `get_config` returned."""
        return cls(read_places(config["columns"], "column"))

    @property
    def key(self) -> Any:
        """The columns."""
        return key_of(self.columns)

    def __str__(self) -> str:
        return f"columns {text_of(self.columns)}"


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
        index = self.axes
        if not index or len(index) > len(shape):
            raise ParametrizationError(
                f"an index for {len(index)} axes does not fit a weight with {len(shape)}",
                received=f"{self}; a weight of shape {shape}",
                expected=f"one entry for each of up to {len(shape)} axes" if shape else "a weight with axes",
            )
        grids = [_along(n, places, shape, f"place on axis {n}") for n, places in enumerate(index)]
        return Grid(shape, {axis: ids for grid in grids for axis, ids in grid.places.items()})

    @property
    def axes(self) -> tuple[Places, ...]:
        """The places along each axis."""
        return self.index if isinstance(self.index, tuple) else (self.index,)

    def get_config(self) -> dict[str, Any]:
        """Return the places along each axis as they stand in files."""
        return {"index": [data_of(places) for places in self.axes]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make one of what `get_config` returned."""
        return cls(tuple(read_places(one, f"place on axis {n}") for n, one in enumerate(config["index"])))

    @property
    def key(self) -> Any:
        """The places along each axis."""
        return tuple(map(key_of, self.axes))

    def __str__(self) -> str:
        along = (
            t if isinstance(p, slice | int) else f"[{t}]"
            for p, t in zip(self.axes, map(text_of, self.axes), strict=True)
        )
        return f"block [{', '.join(along)}]"


@dataclass(frozen=True, eq=False)
class Mask(Selection):
    """Trains the elements where a mask is True. Only these are variables and have optimizer slots.

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
            self.require_boolean(shape)
            self._require_fit(shape)
            self._ids.append(smallest(np.flatnonzero(self.mask)))
        elif self.mask.shape != shape:
            self._require_fit(shape)
        return Scattered(shape, self._ids[0])

    @property
    def key(self) -> Any:
        """The shape of the mask, and a digest of it."""
        return (*self.mask.shape, self.digest)

    @property
    def digest(self) -> str:
        """BLAKE3 digest, in hexadecimal, of the mask: one byte for each element, in C order."""
        return blake3(np.ascontiguousarray(self.mask).view(np.uint8).data).hexdigest()

    def require_boolean(self, shape: tuple[int, ...] | None = None) -> None:
        """Raise `ParametrizationError` where the mask is not a boolean array; `shape` is for the message."""
        mask = self.mask
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            array = isinstance(mask, np.ndarray)
            kind = f"a mask of dtype {mask.dtype}" if array else f"an object of type {type(mask).__name__}"
            raise ParametrizationError(
                "a mask must be a boolean array, True where an element trains",
                received=kind,
                expected=f"a NumPy array of {f'shape {shape}' if shape else 'the shape of the weight'} "
                "and dtype bool",
                remedy="write it as a comparison: mask = scores > 0" if array else None,
            )

    def _require_fit(self, shape: tuple[int, ...]) -> None:
        mask = self.mask
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
            received=f"{text_of(places)}; a weight of shape ()",
            remedy="train it or freeze it as a whole",
        )
    ids = ids_of(places, shape[axis], noun)
    return Grid(shape, {axis: ids} if len(ids) < shape[axis] else {})


def selection_of(elements: Elements) -> Selection:
    """Return the most structured parametrization that trains these elements."""
    if not isinstance(elements, Grid):
        return Mask(mask_of(elements))
    places = {axis: compact(ids) for axis, ids in elements.places.items()}
    last = len(elements.shape) - 1
    if set(places) == {0}:
        return Rows(places[0])
    if set(places) == {last}:
        return Columns(places[last])
    return Index(tuple(places.get(axis, slice(None)) for axis in range(max(places, default=0) + 1)))
