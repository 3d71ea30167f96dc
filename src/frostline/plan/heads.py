"""The head of a model: the layers that make its outputs from the features of all the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from frostline._keras.layers import last_operations, producers
from frostline.errors import listed
from frostline.model.addresses import nearest
from frostline.model.inventory import Inventory, LayerNode

_CALLED_HEAD = ("head", "classifier", "classification_head", "lm_head", "prediction_head")
"""Names of layers, and of attributes that hold them, by which models say what their head is."""

_MOST = 0.5
"""A layer of several that holds a larger share of all elements than this is no head."""


_PIECES = 10
"""Nested models with so many times more elements behind them are pieces of a network."""


@dataclass(frozen=True, slots=True)
class Head:
    """What was found.

    Attributes:
        addresses: The weights and statistics of the head; empty where there is none.
        why: How it was told, or why there is none.
        known: Whether that is certain: False where the model may have a head that cannot be told.
    """

    addresses: frozenset[str]
    why: str
    known: bool = True


def find_head(inventory: Inventory) -> Head:
    """Find the head of a model: never a backbone, and never an embedding that the input passes, too.

    In this order: what a task has beside its `backbone`; what the model calls its head, by the name of a
    layer or of an attribute; the layers behind the global pooling that all features pass, or behind nested
    models; the last layers with weights. A model that only wraps another has the head of that one.

    Args:
        inventory: The model's weights and layers.
    """
    return _Search(inventory).head_of(inventory.layer_by_address[""])


class _Search:
    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._weights = {w.address: w.size for w in inventory.of_role("weight")}
        self._nodes = {id(node.layer): node for node in inventory.layers}

    def head_of(self, root: LayerNode) -> Head:
        for look in (self._beside_backbone, self._by_name, self._behind_pooling, self._behind_models):
            if (found := look(root)) is not None:
                return found
        return self._last(root)

    def _beside_backbone(self, root: LayerNode) -> Head | None:
        """What a task has beside its backbone, as those of KerasHub say."""
        node = self._attribute(root, "backbone")
        if node is None:
            return None
        beside = frozenset(root.below) - set(node.below)
        if beside.isdisjoint(self._weights):
            return _none(
                f"all its weights lie in its backbone {node.address!r}, which makes the outputs, too"
            )
        return Head(beside, f"what it has beside its backbone {node.address!r}")

    def _by_name(self, root: LayerNode) -> Head | None:
        """The layer whose name, or an attribute of the model, says so."""
        within = f"{root.address}/" if root.address else ""
        named = [self._inventory.layer_by_address.get(f"{within}{name}") for name in _CALLED_HEAD]
        for node in (*(self._attribute(root, name) for name in _CALLED_HEAD), *named):
            if node is not None and self._trains(node):
                return Head(frozenset(node.below), f"the layer {node.address!r}, which it calls so")
        return None

    def _attribute(self, root: LayerNode, name: str) -> LayerNode | None:
        import keras

        layer = getattr(root.layer, name, None)
        node = self._nodes.get(id(layer)) if isinstance(layer, keras.Layer) else None
        return node if node is not None and self._trains(node) else None

    def _behind_models(self, root: LayerNode) -> Head | None:
        """The layers that no nested model lies behind, but one lies before."""
        import keras

        inside = self._inside(root)
        nested = [n for n in inside if isinstance(n.layer, keras.Model)]
        if not nested:
            return None
        if len(inside) == 1:
            return self.head_of(nested[0])
        backbones = [n for n in nested if self._behind(n)]
        if backbones:
            keys = {n.address for n in backbones}
            behind = {a: self._inventory.layer_by_address[a] for n in backbones for a in self._behind(n)}
            heads = [n for a, n in behind.items() if a not in keys and keys.isdisjoint(self._behind(n))]
            between = [n for a, n in behind.items() if a not in keys and n not in heads]
            most = sum(map(self._size, backbones))
            if sum(map(self._size, between)) > most or sum(map(self._size, heads)) > _PIECES * most:
                return None  # a stem, and what else is nested, are pieces of a network and no backbones
            return self._layers(heads, f"behind {listed(sorted(keys))}")
        if not producers(root.layer):  # written as a class: the order in which it made them
            largest = max(nested, key=self._size)
            after = inside[inside.index(largest) + 1 :]
            return self._layers(after, f"made behind {largest.address!r}") if after else None
        return self.head_of(nested[-1]) if self._share(nested[-1]) > _MOST else None

    def _behind_pooling(self, root: LayerNode) -> Head | None:
        """The layers behind the global pooling that all ways from the inputs to the outputs go through."""
        feeds = producers(root.layer)
        ends = [id(operation) for operation in last_operations(root.layer)]
        for node in reversed(self._inventory.layers):
            if id(node.layer) not in feeds or not _is_pooling(node):
                continue
            if _reaches_start(ends, feeds, past=id(node.layer)):
                continue
            behind = [self._inventory.layer_by_address[a] for a in self._behind(node)]
            if not behind:
                return _none(f"nothing with weights lies behind its pooling {node.address!r}")
            return self._layers(behind, f"behind the pooling {node.address!r}")
        return None

    def _last(self, root: LayerNode) -> Head:
        """The last layers with weights, if they are no backbone, and nothing that the input passes, too."""
        inside = self._inside(root)
        if not inside:
            return self._layers([root], "the only layer")
        feeds = producers(root.layer)
        with_weights = {id(node.layer) for node in inside}
        ends: list[int] = []
        for operation in last_operations(root.layer):
            key = id(operation)
            ends += [key] if key in with_weights else nearest(key, feeds, with_weights)
        last = [self._nodes[key] for key in dict.fromkeys(ends)] or inside[-1:]
        for node in last:
            if (reason := self._is_no_head(node, root, len(inside))) is not None:
                return reason
        return self._layers(last, "the last layer with weights" if len(last) == 1 else "the last layers")

    def _is_no_head(self, node: LayerNode, root: LayerNode, layers: int) -> Head | None:
        if any("Embedding" in name for name in node.types):
            return _none(f"its outputs come from the embedding {node.address!r}")
        if "Backbone" in root.types or any("Normalization" in name for name in node.types):
            return _none(f"its outputs are features, behind {node.address!r}")
        parts = [n for n in self._inside(node) if n is not node]
        if layers > 1 and len(parts) > 1 and self._share(node) > _MOST:
            share = f"{100 * self._share(node):.0f} %"
            return Head(
                frozenset(), f"its last layer {node.address!r} holds {share} of all elements", known=False
            )
        if layers == 1 and len(parts) > 1:
            return Head(frozenset(), f"all its weights lie in one layer, {node.address!r}", known=False)
        return None

    def _inside(self, root: LayerNode) -> list[LayerNode]:
        """The layers that lie in another directly and have weights."""
        return [n for n in self._inventory.layers if root.address in n.parents and self._trains(n)]

    def _behind(self, node: LayerNode) -> set[str]:
        """The addresses of all layers with weights that the output of one goes to, in its graph."""
        found: set[str] = set()
        waiting = list(node.feeds)
        while waiting:
            address = waiting.pop()
            if address not in found:
                found.add(address)
                waiting += self._inventory.layer_by_address[address].feeds
        return found - {node.address}

    def _trains(self, node: LayerNode) -> bool:
        return not self._weights.keys().isdisjoint(node.below)

    def _size(self, node: LayerNode) -> int:
        return sum(self._weights.get(address, 0) for address in node.below)

    def _share(self, node: LayerNode) -> float:
        return self._size(node) / max(1, sum(self._weights.values()))

    def _layers(self, nodes: Iterable[LayerNode], why: str) -> Head:
        return Head(frozenset(address for node in nodes for address in node.below), why)


def _none(why: str) -> Head:
    return Head(frozenset(), why)


def _is_pooling(node: LayerNode) -> bool:
    return any(name.startswith("Global") and "Pool" in name for name in node.types)


def _reaches_start(ends: Collection[int], feeds: dict[int, list[int]], past: int) -> bool:
    """Whether a way leads from the outputs back to an input that does not go through one operation."""
    waiting, seen = list(ends), {past}
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        before: Any = feeds.get(key, [])
        if not before:
            return True
        waiting += before
    return False
