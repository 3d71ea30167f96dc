"""A checkpoint by present addresses: Keras numbers layers without names as they come."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from frostline.training.resume.checkpoint import Checkpoint

_HOLD_ADDRESSES = ("optimizer", "ledger")
"""What of a checkpoint's state names weights, beside its identity."""


def renamed_checkpoint(saved: Checkpoint, names: Mapping[str, str]) -> Checkpoint:
    """Return a checkpoint with other addresses.

    Args:
        saved: The checkpoint.
        names: The present address of each weight in it.
    """
    changed = {old: new for old, new in names.items() if old != new}
    if not changed:
        return saved
    rename = _renaming(changed)
    told = {key: _renamed(saved.state[key], rename) for key in _HOLD_ADDRESSES}
    identity = dict(saved.state["identity"])
    for key in ("model", "frozen"):
        identity[key] = {rename(address): one for address, one in identity[key].items()}
    arrays = {rename(name): array for name, array in saved.arrays.items()}
    return replace(saved, state={**saved.state, **told, "identity": identity}, arrays=arrays)


def _renaming(names: Mapping[str, str]) -> Callable[[str], str]:
    """Return what replaces whole addresses within names such as `optimizer/0/ADDRESS:part/momentum`."""
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?<![^/:])(?:{'|'.join(map(re.escape, longest_first))})(?![^/:@])")
    return lambda text: pattern.sub(lambda found: names[found.group()], text)


def _renamed(data: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(data, str):
        return rename(data)
    if isinstance(data, Mapping):
        return {rename(key): _renamed(one, rename) for key, one in data.items()}
    return [_renamed(one, rename) for one in data] if isinstance(data, list) else data
