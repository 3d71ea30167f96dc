"""Addresses of one copy of a model in terms of another's.

Layers that a custom layer makes without a name are numbered by Keras as they come: `dense_3` in one process
is `dense` in the next, and `dense_7` in the second copy in one process. Their order stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Kinds = Mapping[str, object]
"""What a weight or layer is (its shape and dtype, say), by address, in the order of the model."""

_NUMBER = re.compile(r"_\d+(?=/|$)")


def aligned(saved: Kinds, present: Kinds, *, renamed: bool = False) -> dict[str, str]:
    """Return the present address for each saved one.

    Where the addresses differ only in the numbers of unnamed layers, those at the same place in the order
    belong together. Where they differ otherwise, each is taken to be itself.

    Args:
        saved: The weights or layers of the copy that was saved.
        present: Those of the copy that is there now.
        renamed: Whether layers may have other names altogether, as in a model that was made from its
            configuration: Keras gives a custom layer without `get_config` a new name.
    """
    if saved.keys() != present.keys():
        same_names = _without_numbers(saved) == _without_numbers(present)
        if same_names or (renamed and _depths(saved) == _depths(present)):
            return dict(zip(saved, present, strict=True))
    return {address: address for address in saved}


def _without_numbers(kinds: Kinds) -> list[tuple[object, object]]:
    return [(_NUMBER.sub("", address), kind) for address, kind in kinds.items()]


def _depths(kinds: Kinds) -> list[tuple[object, object]]:
    return [(address.count("/"), kind) for address, kind in kinds.items()]


def renamed(names: Mapping[str, str], addresses: Iterable[str]) -> list[str]:
    """Return addresses with their present names.

    They may be those of parts (`layer/kernel:rows`), or keys of what an optimizer remembers, with a mark in
    front (`joined:layer/kernel`) or a number behind (`layer/kernel@1`).
    """
    found = []
    for address in addresses:
        pieces = re.split(r"(:|@)", address)
        found.append("".join(names.get(piece, piece) for piece in pieces))
    return found
