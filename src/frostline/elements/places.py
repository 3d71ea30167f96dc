"""Places along one axis of a weight: as users write them, as ids, as text, as they stand in plan files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.elements.sets import Ids, smallest, span
from frostline.errors import ParametrizationError, listed

Places = slice | int | Sequence[int] | npt.NDArray[Any]
"""Places along one axis: a slice, one place, or several; negative ones count from the end."""

# No weight has as many rows as 18 digits say; of 4,300 Python makes no number.
_SLICE = re.compile(r"\s*(-?\d{1,18})?\s*:\s*(-?\d{1,18})?\s*(?::\s*(-?\d{1,18})?\s*)?", re.ASCII)
_ONE = re.compile(r"\s*-?\d{1,18}\s*", re.ASCII)


def ids_of(places: Any, size: int, noun: str) -> Ids:
    """Return places as ids, ascending and unique.

    Args:
        places: A slice, one place, or several.
        size: How many places the axis has.
        noun: What one place is called in messages, such as `row`.

    Raises:
        ParametrizationError: They are not places, or not places of an axis of this size.
    """
    ids = _of_slice(places, size, noun) if isinstance(places, slice) else _of_list(places, size, noun)
    if len(ids) == 0:
        raise ParametrizationError(
            f"this picks no {noun} of a weight with {size:,}",
            received=text_of(places),
            expected=f"at least one {noun} from 0 to {size - 1}",
        )
    return ids


def require_places(places: Any, noun: str) -> None:
    """Check all that can be said of places before the size of the axis is known."""
    if isinstance(places, slice):
        _require_slice(places, noun)
    elif len(ids := _whole_numbers(places, noun)) == 0:
        raise ParametrizationError(
            f"an empty list picks no {noun}", expected=f"at least one {noun}, such as [3, 7]"
        )
    else:
        _require_unique(ids, noun)


def read_places(given: Any, noun: str) -> Places:
    """Return places in one form: a slice, one number, or a tuple of numbers; text as in plan files is read.

    Raises:
        ParametrizationError: They are not places.
    """
    if isinstance(given, str):
        given = _of_text(given, noun)
    require_places(given, noun)
    if isinstance(given, slice):
        bounds = (given.start, given.stop, given.step)
        return slice(*(None if bound is None else int(bound) for bound in bounds))
    return int(given) if _is_whole(given) else tuple(int(n) for n in given)


def compact(ids: Ids) -> Places:
    """Return ids as a slice where there is no gap between them."""
    return slice(*whole) if (whole := span(ids)) is not None else tuple(int(n) for n in ids)


def text_of(places: Any) -> str:
    """Write places as they stand in plan files: `30522:`, `3`, `3, 7`; long lists are cut."""
    if isinstance(places, slice):
        return _slice_text(places)
    if _is_whole(places):
        return str(int(places))
    try:
        values = sorted(int(n) for n in places)
    except (TypeError, ValueError):
        return repr(places)
    return listed(map(str, values), most=6) if len(values) <= 6 else listed(_runs(values), most=6)


def _runs(values: Sequence[int]) -> Iterator[str]:
    """Yield ascending places as text, those without a gap between them together."""
    first = before = values[0]
    for place in (*values[1:], None):
        if place is not None and place == before + 1 and before >= 0:
            before = place
            continue
        yield str(first) if first == before else f"{first}:{before + 1}"
        if place is not None:
            first = before = place


def data_of(places: Places) -> Any:
    """Return places as they stand in a plan file."""
    if isinstance(places, slice):
        return _slice_text(places)
    return int(places) if _is_whole(places) else [int(n) for n in places]  # type: ignore[union-attr, arg-type]


def key_of(places: Any) -> Any:
    """Return what two ways of writing the same places have in common."""
    if isinstance(places, slice):
        return ("slice", places.start, places.stop, places.step)
    try:
        return tuple(sorted(int(n) for n in np.atleast_1d(places)))
    except (TypeError, ValueError):
        return repr(places)


_LONGEST = 60


def _of_text(text: str, noun: str) -> slice | int:
    if _ONE.fullmatch(text):
        return int(text)
    found = _SLICE.fullmatch(text)
    if found is None:
        raise ParametrizationError(
            f"this text names no {_several(noun)}",
            received=repr(text)
            if len(text) <= _LONGEST
            else f"{text[:_LONGEST]!r}, and {len(text):,} in all",
            expected="places as in Python, such as '10:20', '30522:' or '-3:'; a list for several: [3, 7]",
        )
    return slice(*(None if bound is None else int(bound) for bound in found.groups()))


def _of_slice(places: slice, size: int, noun: str) -> Ids:
    _require_slice(places, noun)
    # NumPy would quietly cut it off, and fewer elements would train than were asked for.
    bounds = (places.start, places.stop)
    outside = [b for b in bounds if b is not None and not -size <= b <= size]
    if outside:
        raise _out_of_range(outside, size, noun, places)
    return smallest(np.sort(np.arange(size)[places]))


def _require_slice(places: slice, noun: str) -> None:
    bounds = (places.start, places.stop, places.step)
    if not all(bound is None or _is_whole(bound) for bound in bounds):
        raise ParametrizationError(
            f"the bounds of a slice of {_several(noun)} must be whole numbers", received=text_of(places)
        )
    if places.step == 0:
        raise ParametrizationError("the step of a slice cannot be 0", received=text_of(places))


def _of_list(places: Any, size: int, noun: str) -> Ids:
    ids = _whole_numbers(places, noun)
    outside = [int(n) for n in ids if not -size <= n < size]
    if outside:
        raise _out_of_range(outside, size, noun, places)
    ids = np.where(ids < 0, ids + size, ids)
    _require_unique(ids, noun)
    return smallest(np.unique(ids))


def _whole_numbers(places: Any, noun: str) -> npt.NDArray[Any]:
    try:
        ids = np.asarray([places] if _is_whole(places) else places)
    except (TypeError, ValueError):
        ids = np.asarray(None)
    if ids.size == 0 and ids.ndim == 1:
        return ids.astype(np.int32)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        hint = "a boolean array is a mask: Mask(array)" if ids.dtype == np.bool_ else None
        raise ParametrizationError(
            f"{_several(noun)} must be given as a slice or as whole numbers",
            received=f"{type(places).__name__} {text_of(places)}",
            expected="such as slice(10, 20), 3 or [3, 7]",
            remedy=hint,
        )
    return ids


def _require_unique(ids: npt.NDArray[Any], noun: str) -> None:
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise ParametrizationError(
            f"the same {noun} is named more than once",
            received=listed(str(int(n)) for n in unique[counts > 1]),
            expected=f"every {noun} once",
        )


def _out_of_range(outside: list[int], size: int, noun: str, places: Any) -> ParametrizationError:
    return ParametrizationError(
        f"{noun} {listed(map(str, outside))} is out of range: the weight has {size:,} {_several(noun)}",
        received=text_of(places),
        expected=f"{_several(noun)} from 0 to {size - 1}, or from {-size} to -1 to count from the end",
    )


def _several(noun: str) -> str:
    return noun.replace("place", "places", 1) if noun.startswith("place") else f"{noun}s"


def _slice_text(places: slice) -> str:
    bounds = ["" if b is None else str(b) for b in (places.start, places.stop)]
    step = f":{places.step}" if places.step is not None else ""
    return ":".join(bounds) + step


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
