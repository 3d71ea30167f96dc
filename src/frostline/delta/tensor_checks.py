"""Whether every tensor of a delta is what the rest of the delta says it is. Nothing here needs a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from frostline.errors import DeltaError, listed
from frostline.files.tensor_file import Array
from frostline.parametrization.serialization import deserialize, is_own

if TYPE_CHECKING:
    from frostline.delta.contents import Delta, Entry

Kinds = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and dtype by name."""


def require_fitting(delta: Delta, arrays: Mapping[str, Array]) -> None:
    """Check names, dtypes and shapes of all tensors against the base and the parametrizations in a delta.

    Parts of a class of the user's own are left to those who know the class.

    Args:
        delta: The delta, made of these arrays.
        arrays: All arrays of its file.

    Raises:
        DeltaError: One does not fit, or belongs to no weight.
        ParametrizationError: A parametrization is not possible for its weight.
        LookupError, TypeError, ValueError: What it says of a parametrization cannot be read.
    """
    belonging = {name for entry in delta.entries.values() for name in entry.tensors}
    if strange := sorted(set(arrays) - belonging):
        raise DeltaError("it has tensors that belong to no weight", received=listed(strange))
    for address, entry in delta.entries.items():
        base = delta.base[address]
        if (base.shape, base.dtype) != (entry.shape, entry.dtype):
            raise DeltaError(f"it says of {address!r} another shape or dtype than of its base")
        wanted = _wanted(entry)
        if wanted is not None:
            require_kinds(entry, wanted)


def require_kinds(entry: Entry, wanted: Kinds) -> None:
    """Check the names, dtypes and shapes of the values of an entry.

    Raises:
        DeltaError: They are others; says which.
    """
    found = {name: (value.shape, value.dtype.name) for name, value in entry.values.items()}
    if entry.kind == "parts":
        wanted = {
            name: (shape, _as_before(dtype, found.get(name))) for name, (shape, dtype) in wanted.items()
        }
    if found != dict(wanted):
        raise DeltaError(
            f"the values for {entry.address!r} do not fit",
            received=_text(found),
            expected=_text(wanted),
        )


def _wanted(entry: Entry) -> Kinds | None:
    """Return what the values of an entry must be; None where a class of the user's own says so."""
    if entry.how is None:
        return {"": (entry.shape, entry.dtype)}
    if not is_own(entry.how):
        return None
    how = deserialize(entry.how, entry.places)
    how.check(entry.shape, entry.dtype)
    return how.part_shapes(entry.shape, entry.dtype)


def _as_before(dtype: str, found: tuple[tuple[int, ...], str] | None) -> str:
    """Return float32 for a part that is so: in 0.1 those of low rank and scales were, for every weight."""
    return "float32" if found is not None and found[1] == "float32" else dtype


def _text(kinds: Kinds) -> str:
    return listed(
        f"{name + ' of ' if name else ''}shape {shape}, {dtype}" for name, (shape, dtype) in kinds.items()
    )
