"""The smallest dtype that a loss is computed in on its way from the weights, whatever was asked for."""

from __future__ import annotations

from frostline.graph.flow import Flow
from frostline.graph.ir import Graph, Node

_DIGITS = {"float32": 23, "float16": 10, "bfloat16": 7, "float8_e4m3fn": 3, "float8_e5m2": 2}
"""Bits of the fraction of what is smaller than float64."""


def narrowest(graph: Graph) -> Node | None:
    """Return the value of the smallest dtype among those that a loss is computed from, weights left out.

    None where all of them are float64, as far as is known.
    """
    flow = Flow(graph)
    narrow = [
        node
        for index, node in enumerate(graph.nodes)
        if isinstance(node, Node) and node.dtype in _DIGITS and flow.reaches[index] and flow.stems[index]
    ]
    return min(narrow, key=lambda node: _DIGITS[node.dtype], default=None)


def precision(dtype: str) -> float:
    """Return the distance from 1 to the next number of a dtype."""
    return float(2.0 ** -_DIGITS.get(dtype, 52))
