"""The kernels that make queries, keys and values in attention: what low-rank updates are made for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from frostline.model.inventory import Inventory, LayerNode

_ROLES = {
    **dict.fromkeys(("q", "query", "queries", "querys"), "query"),
    **dict.fromkeys(("k", "key", "keys"), "key"),
    **dict.fromkeys(("v", "value", "values"), "value"),
    **dict.fromkeys(("qkv", "kv"), "several"),
}
"""What the words in the name of a projection say that it makes."""

_PROJECTIONS = frozenset({"Dense", "EinsumDense"})
"""Classes of layers that project; those that norm or pool queries are of other classes."""


def attention_kernels(inventory: Inventory) -> frozenset[str]:
    """Return the addresses of the kernels that make queries, keys and values.

    They lie in Dense and EinsumDense layers. A layer holds attention if its class says so, or if it has
    projections to queries, keys and values side by side; which ones those are, their names say, or the
    attributes by which the layer holds them. In a class for attention that says nothing of the kind, they
    are all but the last projection, which takes the heads together.

    Args:
        inventory: The model's weights and layers.
    """
    return frozenset(address for node in inventory.layers for address in _kernels_in(node, inventory))


def _kernels_in(node: LayerNode, inventory: Inventory) -> Iterator[str]:
    below = [n for n in inventory.layers if node.address in n.parents and n.types & _PROJECTIONS]
    if not below:
        return
    says = [_role(node.layer, n) for n in below]
    named = [n for n, role in zip(below, says, strict=True) if role]
    is_attention = any("attention" in name.lower() for name in node.types)
    if not (is_attention or {"query", "key", "value"} <= set(says) or "several" in says):
        return
    chosen = named or [n for n in below[:-1] if not _joins_heads(n)]
    for one in chosen:
        yield from (a for a in one.own if a.endswith("/kernel") and len(inventory.by_address[a].shape) > 1)


def _role(holder: Any, node: LayerNode) -> str:
    """Return what a projection makes, by its name or the attribute that holds it; empty where none says."""
    modules = getattr(holder, "named_children", dict)  # PyTorch keeps layers apart from the rest
    held = {**vars(holder), **dict(modules())}
    attributes = [name for name, value in held.items() if value is node.layer]
    for name in (node.address.rpartition("/")[2], *attributes):
        made = {_ROLES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in _ROLES}
        if made:
            return made.pop() if len(made) == 1 else "several"
    return ""


def _joins_heads(node: LayerNode) -> bool:
    """Whether a projection sums over two axes, heads and what each gives, as the last in attention does."""
    equation = getattr(node.layer, "equation", "")
    if "->" not in equation:
        return False
    before, after = equation.split("->")
    _, kernel = before.split(",")
    return len([axis for axis in kernel if axis not in after]) > 1
