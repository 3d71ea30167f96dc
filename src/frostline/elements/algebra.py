"""Sets of elements of one weight: union, difference, and the most structured form of what comes out.

Rows and columns stay ids of rows and columns. Only where a set has no such form is an array of the weight's
shape made, of one byte for each element.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.elements.sets import Elements, Grid, Ids, Scattered, smallest


def everything(shape: tuple[int, ...]) -> Grid:
    """Return all elements of a weight of this shape."""
    return Grid(shape, {})


def is_everything(elements: Elements) -> bool:
    """Whether no element is left out."""
    return elements.count == everything(elements.shape).count


def union(one: Elements, other: Elements) -> Elements:
    """Return the elements that are in one of two sets, of weights of one shape, or in both."""
    if isinstance(one, Grid) and isinstance(other, Grid):
        differing = [axis for axis in _axes(one, other) if not _same(_ids(one, axis), _ids(other, axis))]
        if len(differing) <= 1:
            both = {axis: np.union1d(_ids(one, axis), _ids(other, axis)) for axis in differing}
            return _grid(one.shape, {**one.places, **both})
        if covers(one, other) or covers(other, one):
            return one if covers(one, other) else other
    return _of_mask(mask_of(one) | mask_of(other))


def without(one: Elements, other: Elements) -> Elements | None:
    """Return the elements of a set that are not in another; None where there are none."""
    if isinstance(one, Grid) and isinstance(other, Grid):
        left = {axis: np.setdiff1d(_ids(one, axis), _ids(other, axis)) for axis in _axes(one, other)}
        left = {axis: ids for axis, ids in left.items() if len(ids)}
        if not left:
            return None
        if len(left) == 1:
            return _grid(one.shape, {**one.places, **left})
    mask = mask_of(one) & ~mask_of(other)
    return _of_mask(mask) if mask.any() else None


def common(one: Elements, other: Elements) -> Elements | None:
    """Return the elements that are in both sets; None where there are none."""
    if isinstance(one, Grid) and isinstance(other, Grid):
        both = {axis: np.intersect1d(_ids(one, axis), _ids(other, axis)) for axis in _axes(one, other)}
        return _grid(one.shape, both) if all(map(len, both.values())) else None
    mask = mask_of(one) & mask_of(other)
    return _of_mask(mask) if mask.any() else None


def covers(one: Elements, other: Elements) -> bool:
    """Whether one set holds every element of another."""
    if isinstance(one, Grid) and isinstance(other, Grid):
        return all(
            np.isin(_ids(other, axis), ids, assume_unique=True).all() for axis, ids in one.places.items()
        )
    return without(other, one) is None


def same(one: Elements | None, other: Elements | None) -> bool:
    """Whether two sets hold the same elements."""
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and one.count == other.count and covers(one, other)


def of_ids(shape: tuple[int, ...], ids: Ids) -> Elements:
    """Return the elements at some places in C order."""
    mask = np.zeros(shape, np.bool_)
    mask.reshape(-1)[ids] = True
    return _of_mask(mask)


def ids_of(elements: Elements) -> Ids:
    """Return the places of elements in C order, ascending."""
    return elements.ids if isinstance(elements, Scattered) else np.flatnonzero(mask_of(elements))


def positions(outer: Elements, inner: Elements) -> Any:
    """Return the index of some elements of a set in an array of the outer set's `part_shape`."""
    if not isinstance(outer, Grid) or not isinstance(inner, Grid):
        return np.unravel_index(np.searchsorted(ids_of(outer), ids_of(inner)), outer.part_shape)
    axes = []
    for axis, size in enumerate(outer.shape):
        own, wanted = (one.places.get(axis) for one in (outer, inner))
        ids = np.arange(size) if wanted is None else wanted
        axes.append(ids if own is None else np.searchsorted(own, ids))
    return np.ix_(*axes) if axes else ()


def mask_of(elements: Elements) -> npt.NDArray[np.bool_]:
    """Return a set as a boolean array of the weight's shape."""
    mask = np.zeros(elements.shape, np.bool_)
    elements.fill(mask, True)
    return mask


def _of_mask(mask: npt.NDArray[np.bool_]) -> Elements:
    """Return a set as a grid where it is one."""
    axes = range(mask.ndim)
    places = {axis: np.flatnonzero(mask.any(axis=tuple(n for n in axes if n != axis))) for axis in axes}
    grid = _grid(mask.shape, places)
    return (
        grid
        if grid.count == np.count_nonzero(mask)
        else Scattered(mask.shape, smallest(np.flatnonzero(mask)))
    )


def _grid(shape: tuple[int, ...], places: Mapping[int, Ids]) -> Grid:
    return Grid(shape, {axis: smallest(ids) for axis, ids in places.items() if len(ids) < shape[axis]})


def _axes(*grids: Grid) -> list[int]:
    return sorted({axis for grid in grids for axis in grid.places})


def _ids(grid: Grid, axis: int) -> Ids:
    return grid.places[axis] if axis in grid.places else np.arange(grid.shape[axis])


def _same(one: Ids, other: Ids) -> bool:
    return bool(np.array_equal(one, other))
