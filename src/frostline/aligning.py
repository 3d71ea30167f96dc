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


def aligned(saved: Kinds, present: Kinds) -> dict[str, str]:
    """Return the present address for each saved one.

    Where the addresses differ in nothing but the numbers of unnamed layers, they are told by their order.
    Where they differ otherwise, each is taken to be itself.
    """
    if saved.keys() != present.keys() and _pattern(saved) == _pattern(present):
        return dict(zip(saved, present, strict=True))
    return {address: address for address in saved}


def _pattern(kinds: Kinds) -> list[tuple[str, object]]:
    return [(_NUMBER.sub("", address), kind) for address, kind in kinds.items()]


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
