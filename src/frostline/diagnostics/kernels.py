"""Which weights are kernels: what comes in is multiplied by them and added up. Others shift or scale."""

from __future__ import annotations

from frostline.graph.ir import Graph, Leaf, Node

_PRODUCTS = {
    *("addmm", "baddbmm", "bmm", "dot", "dot_general", "einsum", "linear", "matmul", "mm", "tensordot"),
    *("depthwise_conv2d_native", "scaled_dot_product_attention"),
    *("gru", "lstm", "rnn_tanh", "rnn_relu", "cudnn_rnn"),
}
_SUMS = {"add", "subtract", "add_n"}
_MOVES = {
    *("broadcast_in_dim", "broadcast_to", "cast", "contiguous", "expand_dims", "identity", "permute"),
    *("reshape", "squeeze", "t", "to", "transpose", "unsqueeze", "view"),
}
"""What may stand between a product and the sum that it enters; a shape may come from data."""

_NUMBER = 8
"""How many bytes one number takes; a constant that takes more is data."""


def is_kernel(graph: Graph, name: str) -> bool:
    """Whether what is made of a weight first meets data in a product that adds up, as in a matmul."""
    return bool(_products_with_data(graph, name))


def is_added_to_others(graph: Graph, name: str) -> bool:
    """Whether what a kernel makes of data is added to what others make: it begins from there, as in LoRA."""
    data, waiting, met = _data(graph), _products_with_data(graph, name), set[int]()
    while waiting:
        value = waiting.pop()
        met.add(value)
        for consumer in _consumers(graph, value):
            varies = any(one != value and one in data for one in _producers(graph, consumer))
            if varies and _operation(graph, consumer) in _SUMS:
                return True
            passes = _MOVES if varies else _MOVES | _SUMS | {"multiply", "divide"}
            if _operation(graph, consumer) in passes and consumer not in met:
                waiting.append(consumer)
    return False


def _products_with_data(graph: Graph, name: str) -> list[int]:
    data, found, met = _data(graph), list[int](), set[int]()
    waiting = [graph.weights[name]] if name in graph.weights else []
    while waiting:
        value = waiting.pop()
        met.add(value)
        for consumer in _consumers(graph, value):
            if consumer not in data and consumer not in met:
                waiting.append(consumer)
            elif consumer in data and _is_product(_operation(graph, consumer)):
                found.append(consumer)
    return found


def _data(graph: Graph) -> frozenset[int]:
    """Return all that is made from data: what is not, is made from weights and numbers alone."""
    return graph.made_from_leaves(_is_data)


def _is_data(leaf: Leaf) -> bool:
    return leaf.nbytes > _NUMBER if leaf.kind == "constant" else leaf.kind != "weight"


def _is_product(operation: str) -> bool:
    return operation in _PRODUCTS or operation.startswith("conv")


def _consumers(graph: Graph, value: int) -> list[int]:
    return [graph.edges[edge].consumer for edge in graph.used_by[value]]


def _producers(graph: Graph, value: int) -> list[int]:
    return [graph.edges[edge].producer for edge in graph.made_from[value]]


def _operation(graph: Graph, value: int) -> str:
    node: Leaf | Node = graph.nodes[value]
    return node.operation if isinstance(node, Node) else ""
