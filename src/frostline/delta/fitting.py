"""Whether a delta fits a model, and its base."""

from __future__ import annotations

from pathlib import Path

from frostline.delta.base_check import Ground
from frostline.delta.change import kind_text
from frostline.delta.contents import Delta
from frostline.errors import DeltaError, listed, near
from frostline.model.alignment import aligned
from frostline.model.inventory import Inventory, Weight


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


def require_base(delta: Delta, held: Inventory, path: Path, ground: Ground) -> None:
    """Check that what the delta leaves as it is has the values that it was trained with.

    Args:
        delta: The delta.
        held: The model.
        path: The file, for the message.
        ground: What of the model it was trained on.

    Raises:
        DeltaError: It has not; says where.
    """
    if ground.differ:
        raise DeltaError(
            f"the delta {str(path)!r} was made for another base than the model {held.model_name!r}",
            received=f"these have other values than its base: {listed(ground.differ)}",
            expected=f"the base {delta.base_digest[:16]}",
            remedy="load the model that training began with; to load it anyway: force=True, --another-base",
        )


def require_disjoint(ground: Ground) -> None:
    """Check that no delta that is on the model changes the same elements, but those that it rests on.

    Raises:
        DeltaError: One does; says where.
    """
    for one, both in ground.changed_twice():
        raise DeltaError(
            f"the delta {one.name!r}, which is on the model, changes the same elements",
            received=f"both change {listed(both)}",
            expected="deltas that change different elements, or one that was trained on top of the other",
            remedy=f"take it off first: remove_delta(model, {one.name!r})",
        )


def _own_kind(weight: Weight) -> tuple[tuple[int, ...], str]:
    return weight.shape, weight.dtype
