"""Whether a delta fits a model, and its base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frostline import _keras
from frostline.address import Inventory, Weight
from frostline.aligning import aligned
from frostline.delta.changing import Change, kind_text, parametrization_of
from frostline.delta.contents import Delta, Entry
from frostline.digesting import digest_array, digest_without
from frostline.elements import Elements
from frostline.elementsets import common
from frostline.errors import DeltaError, listed, near


def for_model(delta: Delta, held: Inventory) -> Delta:
    """Return a delta with the addresses that this copy of its model has."""
    kinds = {w.address: _own_kind(w) for w in held if w.role in ("weight", "statistic")}
    return delta.renamed(aligned({a: (one.shape, one.dtype) for a, one in delta.base.items()}, kinds))


def require_fit(delta: Delta, held: Inventory, path: Path) -> None:
    """Check that the model has the weights that the delta changes.

    Raises:
        DeltaError: It has not; says which.
    """
    known = {w.address: w for w in held if w.role in ("weight", "statistic")}
    missing = [address for address in delta.entries if address not in known]
    if missing:
        close = near(missing[0], known)
        raise DeltaError(
            f"the delta {str(path)!r} is of another model, {delta.model!r}",
            received=f"it changes {listed(missing)}, which the model {held.model_name!r} does not have",
            remedy=f"did you mean a model with {listed(close)}?" if close else None,
        )
    other = [
        f"{address} ({kind_text(entry.shape, entry.dtype)}, in the model {kind_text(*own)})"
        for address, entry in delta.entries.items()
        if (own := _own_kind(known[address])) != (entry.shape, entry.dtype)
    ]
    if other:
        raise DeltaError(
            f"the delta {str(path)!r} is of a model with weights of other shapes or dtypes",
            received=listed(other),
            expected="the model that training began with",
        )


def require_base(delta: Delta, held: Inventory, path: Path, present: Sequence[Change]) -> None:
    """Check that what the delta leaves as it is has the values that it was trained with.

    Args:
        delta: The delta.
        held: The model.
        path: The file, for the message.
        present: What deltas that are on the model changed.

    Raises:
        DeltaError: It has not; says where.
    """
    known = {w.address: w for w in held if w.role in ("weight", "statistic")}
    differ = [address for address in known if address not in delta.base]
    for address, wanted in delta.base.items():
        entry, weight = delta.entries.get(address), known.get(address)
        if weight is None or (wanted.shape, wanted.dtype) != _own_kind(weight):
            differ.append(address)
        elif entry is None or entry.kind != "whole":
            changes = [change for change in present if change.weight.address == address]
            expected = wanted.frozen if entry and entry.kind == "elements" else wanted.blake3
            if _digest(weight, entry, changes) != expected:
                differ.append(address)
    if differ:
        raise DeltaError(
            f"the delta {str(path)!r} was made for another base than the model {held.model_name!r}",
            received=f"these have other values than its base: {listed(differ)}",
            expected=f"the base {delta.base_digest[:16]}",
            remedy="load the model that training began with; to load it anyway: force=True, --another-base",
        )


def overlap(one: Entry, other: Entry | None) -> bool:
    """Whether two entries change the same element."""
    if other is None:
        return False
    if one.kind != "elements" or other.kind != "elements":
        return True
    return common(_elements(one), _elements(other)) is not None


def _digest(weight: Weight, entry: Entry | None, changes: Sequence[Change]) -> str:
    parametrized = entry is not None and entry.kind == "parts" and weight.combination is not None
    values = _keras.glimpse(weight.combination.base if parametrized else weight.variable)
    for change in changes:
        values = change.restore_in(values)
    return (
        digest_array(values)
        if entry is None or entry.kind == "parts"
        else digest_without(values, _elements(entry))
    )


def _elements(entry: Entry) -> Elements:
    found = parametrization_of(entry, None).elements(entry.shape)
    assert found is not None
    return found


def _own_kind(weight: Weight) -> tuple[tuple[int, ...], str]:
    return weight.shape, weight.dtype
