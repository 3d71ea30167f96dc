"""Which parametrization trains a set of elements: the most structured one."""

from __future__ import annotations

from frostline.elements.algebra import mask_of
from frostline.elements.places import compact
from frostline.elements.sets import Elements, Grid
from frostline.parametrization.selections import Columns, Index, Mask, Rows, Selection


def selection(elements: Elements) -> Selection:
    """Return the most structured parametrization that trains these elements."""
    shape = elements.shape
    if not isinstance(elements, Grid):
        return Mask(mask_of(elements))
    places = {axis: compact(ids) for axis, ids in elements.places.items()}
    if set(places) == {0}:
        return Rows(places[0])
    if set(places) == {len(shape) - 1}:
        return Columns(places[len(shape) - 1])
    return Index(tuple(places.get(axis, slice(None)) for axis in range(max(places, default=0) + 1)))
