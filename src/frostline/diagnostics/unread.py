"""Weights whose gradient is zero because the loss leaves out whatever is made of them, as a slice does.

To the gradient graph an output that a slice drops is used: it is part of what is sliced. Numbers tell: a loss
that stays the same to the bit whatever a weight holds, NaN included, never reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from frostline._keras.variables import to_numpy
from frostline.backends import dispatch
from frostline.diagnostics.moved_weights import values_of, with_values
from frostline.graph.flow import Flow
from frostline.graph.ir import Graph, Node
from frostline.graph.reader import Computation, Measured

_CHOOSING = frozenset(
    (
        *(
            "where",
            "select",
            "select_v2",
            "masked_fill",
            "masked_select",
            "boolean_mask",
            "cond",
            "switch_case",
        ),
        *("gather", "gather_nd", "gather_v2", "take", "take_along_dim", "index_select", "dynamic_slice"),
        *("embedding", "dynamic_update_slice", "scatter", "while_loop", "loop", "scan"),
        *("sort", "argsort", "topk", "top_k", "unique", "max_pool", "max_pool2d", "reduce_window_max"),
    )
)
"""Operations that may take one value now and another with other data."""

_HEARING: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "maximum": lambda x: ops.maximum(x, 0.0),
    "minimum": lambda x: ops.minimum(x, 0.0),
    "clip": lambda x: ops.clip(x, 0.0, 1.0),
}
"""Operations that hand NaN on, but on some backends: TensorFlow's ReLU makes zero of it."""

_SLICING = frozenset(
    ("getitem", "__getitem__", "index", "strided_slice", "slice", "select", "dynamic_slice", "gather")
)
"""Of these, and of those above, those that take the same of every batch where constants say what."""

_FAR = 10.0
"""How many times its own size, and at least how much, is added to what a weight holds."""


def never_read(
    computation: Computation,
    measured: Measured,
    graph: Graph,
    asked: Collection[str],
    starting: Collection[str],
) -> frozenset[str]:
    """Return the weights that no value of could change the loss, on these data or on others.

    Where a gradient is zero, the loss is computed again with numbers far off, and with NaN, in those weights;
    their own are put back, to the bit. Where what is made of a weight goes through an operation that chooses
    by values, other data may choose it, and it is not among them.

    Args:
        computation: The computation.
        measured: Its loss and gradients.
        graph: Its gradient graph.
        asked: Names of the weights that are asked about.
        starting: Names of those whose gradient is zero at the start only.
    """
    if measured.error or not measured.is_finite:
        return frozenset()
    gradients = {name: measured.gradients.get(name) for name in asked if name not in starting}
    silent = [n for n, one in gradients.items() if one is not None and not one.any() and n in graph.weights]
    if not silent:
        return frozenset()
    flow, chosen = Flow(graph), _chosen_by_values(graph)
    places = {name: graph.weights[name] for name in silent}
    open_ = [n for n, at in places.items() if at not in chosen and flow.structural_status(at) == "trains"]
    found = values_of(computation, open_)
    values = {name: one for name, one in found.items() if one.dtype.kind == "f" and one.size}
    if not values:
        return frozenset()
    with dispatch.gradient_check().operation_by_operation():
        usual = dispatch.measure(computation).loss
        if _is_same(computation, usual, values):
            return frozenset(values)
        alone = values.items() if len(values) > 1 else ()
        return frozenset(name for name, value in alone if _is_same(computation, usual, {name: value}))


def _is_same(computation: Computation, usual: float, values: Mapping[str, npt.NDArray[np.generic]]) -> bool:
    """Whether the loss is the same to the bit with other numbers in these weights."""
    rng = np.random.default_rng(0)
    far = {
        name: (value + rng.normal(size=value.shape) * _FAR * (1 + np.abs(value).max())).astype(value.dtype)
        for name, value in values.items()
    }
    for others in (far, {name: np.full_like(value, np.nan) for name, value in values.items()}):
        with with_values(computation, others) as moved:
            if dispatch.measure(moved).loss != usual:
                return False
    return True


def _chosen_by_values(graph: Graph) -> frozenset[int]:
    """Return the nodes from which a way leads to an operation that chooses by values."""
    from_values = graph.made_from_leaves(lambda leaf: leaf.kind != "constant")
    choosing = _CHOOSING | _deaf()

    def chooses(index: int, node: Node) -> bool:
        operation = node.operation.lower()
        # One operand is what is sliced; a second one says where, and may come from the data.
        varying = (edge for edge in graph.made_from[index] if graph.edges[edge].producer in from_values)
        return len(list(varying)) > 1 if operation in _SLICING else operation in choosing

    waiting = [i for i, node in enumerate(graph.nodes) if isinstance(node, Node) and chooses(i, node)]
    met: set[int] = set()
    while waiting:
        index = waiting.pop()
        if index not in met:
            met.add(index)
            waiting.extend(graph.edges[edge].producer for edge in graph.made_from[index])
    return frozenset(met)


@cache
def _deaf() -> frozenset[str]:
    """Return the operations that NaN gets lost in on this backend."""
    nan = np.full((1,), np.nan, "float32")
    return frozenset(name for name, call in _HEARING.items() if not np.isnan(to_numpy(call(nan))).any())
