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

    Where the addresses differ in nothing but the numbers of unnamed layers, they are told by their order.
    Where they differ otherwise, each is taken to be itself.

    Args:
        saved: Of the one copy.
        present: Of the other.
        renamed: Whether layers may have other names altogether, as in a model that was made from its
            configuration: Keras gives a custom layer without `get_config` a new name.
    """
    patterns = (_numbers, _depths) if renamed else (_numbers,)
    if saved.keys() != present.keys() and any(of(saved) == of(present) for of in patterns):
        return dict(zip(saved, present, strict=True))
    return {address: address for address in saved}


def _numbers(kinds: Kinds) -> list[tuple[object, object]]:
    return [(_NUMBER.sub("", address), kind) for address, kind in kinds.items()]


def _depths(kinds: Kinds) -> list[tuple[object, object]]:
    return [(address.count("/"), kind) for address, kind in kinds.items()]


def renamed(names: Mapping[str, str], addresses: Iterable[str]) -> list[str]:
    """Return addresses by their present names.

    They may be those of parts (`layer/kernel:rows`), or what an optimizer remembers things by, with a mark
    in front (`joined:layer/kernel`) or a number behind (`layer/kernel@1`).
    """
    found = []
    for address in addresses:
        pieces = re.split(r"(:|@)", address)
        found.append("".join(names.get(piece, piece) for piece in pieces))
    return found
