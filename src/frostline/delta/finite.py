"""No delta brings NaN or infinity to an element that was finite, whether it is saved or loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frostline.delta.contents import Delta, Entry
from frostline.errors import DeltaError, listed
from frostline.files.tensor_file import Array
from frostline.model.inventory import Inventory
from frostline.verification.digest import is_finite
from frostline.verification.fingerprint import Fingerprint


def require_finite_change(
    name: str, entries: Mapping[str, Entry], before: Fingerprint | None, after: Fingerprint | None
) -> None:
    """Refuse to save values that are not finite where those of the base were.

    Args:
        name: The name of the model.
        entries: What the delta is to hold.
        before: The fingerprint of the base; None where it is not known.
        after: That of the model.

    Raises:
        DeltaError: It would hold such values.
    """
    spoilt = [a for a, entry in entries.items() if _is_spoilt(a, entry, before, after)]
    if spoilt:
        raise DeltaError(
            f"the model {name!r} holds NaN or infinity, so no delta was written",
            received=f"not finite: {listed(spoilt)}",
            expected="finite numbers where the base has finite numbers",
            remedy="go back to a checkpoint from before that training"
            + ("" if before is not None else "; if the base itself holds infinity there, give base="),
        )


def _is_spoilt(address: str, entry: Entry, before: Fingerprint | None, after: Fingerprint | None) -> bool:
    if all(is_finite(value) for value in entry.values.values()):
        return False
    if entry.kind == "parts":
        return True
    old = before[address].not_finite if before is not None else None
    new = after[address].not_finite if after is not None else None
    if old is not None and new is not None:
        return bool(new) and new != old
    return _worse_than_a_mask(entry)


def _worse_than_a_mask(entry: Entry) -> bool:
    """Whether values cannot have been so from the beginning: statistics may be masks with infinities."""
    return entry.role == "weight" or any(_has_nan(value) for value in entry.values.values())


def require_finite_load(delta: Delta, model_inventory: Inventory, path: Path) -> None:
    """Refuse to put values on a model that are not finite where the model's are.

    Raises:
        DeltaError: The delta holds such values; the model was not changed.
    """
    spoilt = [a for a, entry in delta.entries.items() if _would_spoil(entry, model_inventory.by_address[a])]
    if spoilt:
        raise DeltaError(
            f"the delta {str(path)!r} holds NaN or infinity where the model has finite numbers",
            received=f"not finite: {listed(spoilt)}",
            expected="finite numbers",
            remedy="train again from the last good checkpoint; Frostline writes no such delta any more",
        )


def _would_spoil(entry: Entry, weight: Any) -> bool:
    if all(is_finite(value) for value in entry.values.values()):
        return False
    if entry.kind == "parts":
        return True
    present = weight.numpy()
    if entry.kind == "whole":
        return bool((_finite(present) & ~_finite(entry.values[""])).any())
    return is_finite(present) or any(_has_nan(value) for value in entry.values.values())


def require_finite_parts(name: str, parts: Iterable[tuple[str, Array]]) -> None:
    """Refuse to export parts that are not finite; they all were when they were made.

    Raises:
        DeltaError: Some are not.
    """
    spoilt = [address for address, value in parts if not is_finite(value)]
    if spoilt:
        raise DeltaError(
            f"the model {name!r} holds NaN or infinity, so no adapter was written",
            received=f"not finite: {listed(dict.fromkeys(spoilt))}",
            expected="finite numbers",
            remedy="go back to a checkpoint from before that training",
        )


def _finite(value: Array) -> Array:
    return np.isfinite(value) if value.dtype.kind in "fcV" else np.ones(value.shape, bool)


def _has_nan(value: Array) -> bool:
    return value.dtype.kind in "fcV" and bool(np.isnan(value).any())
