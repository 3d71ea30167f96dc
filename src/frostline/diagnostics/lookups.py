"""Which weights are tables: rows of them are looked up, and the others have no part in the loss."""

from __future__ import annotations

from frostline.graph.ir import Graph, Leaf, Node

_LOOKUPS = {
    "embedding",
    "embedding_bag",
    "gather",
    "gather_nd",
    "getitem",
    "index",
    "index_select",
    "resource_gather_nd",
    "take",
    "take_along_axis",
    "take_along_dim",
}
_ONE_HOT = {"one_hot", "equal", "scatter"}
"""How the other factor of a product is made that picks rows. JAX makes a one-hot by comparing."""

_ROWS_STAY = {
    "broadcast_in_dim",
    "broadcast_to",
    "cast",
    "clone",
    "contiguous",
    "convert_to_tensor",
    "divide",
    "double",
    "expand_dims",
    "float",
    "half",
    "identity",
    "multiply",
    "permute",
    "reshape",
    "squeeze",
    "t",
    "to",
    "transpose",
    "type",
    "unsqueeze",
    "view",
}
"""What may stand between a table and the lookup: a row of what comes out is made of one row."""


def is_table(graph: Graph, name: str) -> bool:
    """Whether rows of a weight are looked up, by whatever layer and operation."""
    waiting, met = [graph.weights[name]] if name in graph.weights else [], set()
    while waiting:
        value = waiting.pop()
        met.add(value)
        for edge in graph.used_by[value]:
            consumer = graph.edges[edge].consumer
            operation = _operation(graph, consumer)
            if operation in _LOOKUPS or (operation == "matmul" and _picks(graph, consumer, value)):
                return True
            if operation in _ROWS_STAY and consumer not in met:
                waiting.append(consumer)
    return False


def _picks(graph: Graph, product: int, table: int) -> bool:
    """Whether the other factor of a product is one-hot."""
    waiting, met = [one for one in _producers(graph, product) if one != table], set()
    while waiting:
        value = waiting.pop()
        met.add(value)
        operation = _operation(graph, value)
        if operation in _ONE_HOT:
            return True
        if operation in _ROWS_STAY:  # in a loop a value is made from itself
            waiting.extend(one for one in _producers(graph, value) if one not in met)
    return False


def _producers(graph: Graph, value: int) -> list[int]:
    return [graph.edges[edge].producer for edge in graph.made_from[value]]


def _operation(graph: Graph, value: int) -> str:
    node: Leaf | Node = graph.nodes[value]
    return node.operation if isinstance(node, Node) else ""
