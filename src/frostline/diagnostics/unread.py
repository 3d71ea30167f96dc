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
from frostline.diagnostics.moved_weights import loss_stays, values_of
from frostline.graph.flow import Flow
from frostline.graph.ir import Graph, Node
from frostline.graph.reader import Computation, Measured, Trace

_CHOOSING = frozenset(
    (
        *("while_loop", "loop", "scan", "sort", "argsort", "topk", "top_k", "top_kv2", "unique"),
        *("max_pool", "max_pool1d", "max_pool2d", "max_pool3d", "reduce_window_max", "reduce_window"),
    )
)
"""Operations that may take one value now and another with other data, whatever they are given."""

_BY_ANOTHER = frozenset(
    (
        *("where", "select", "select_n", "select_v2", "selectv2", "masked_fill", "masked_select", "cond"),
        *("boolean_mask", "switch_case", "gather", "gather_nd", "gather_v2", "gatherv2", "take", "embedding"),
        *("take_along_dim", "take_along_axis", "index_select", "dynamic_slice", "dynamic_update_slice"),
        *("scatter", "getitem", "__getitem__", "index", "strided_slice", "slice"),
    )
)
"""Operations that take what another operand says; the same of every batch where that is a constant."""

_HEARING: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "maximum": lambda x: ops.maximum(x, 0.0),
    "minimum": lambda x: ops.minimum(x, 0.0),
    "clip": lambda x: ops.clip(x, 0.0, 1.0),
}
"""Operations that hand NaN on, but on some backends: TensorFlow's ReLU makes zero of it."""

_FAR = 10.0
"""How many times its own size, and at least how much, is added to what a weight holds."""


def never_read(
    computation: Computation,
    measured: Measured,
    trace: Trace,
    asked: Collection[str],
    starting: Collection[str],
) -> frozenset[str]:
    """Return the weights that no value of could change the loss, on these data or on others.

    Where a gradient is zero, the loss is computed again with numbers far off, and with NaN, in those weights;
    their own are put back, to the bit. Where what is made of a weight goes through an operation that chooses
    by values, other data may choose it, and it is not among them; nor is any where Python read a number of
    the computation, by which it may have sliced. A loss that raises with such numbers reads them.

    Args:
        computation: The computation.
        measured: Its loss and gradients.
        trace: What a reader saw of it.
        asked: Names of the weights that are asked about.
        starting: Names of those whose gradient is zero at the start only.
    """
    if measured.error or not measured.is_finite:
        return frozenset()
    graph = trace.graph
    if trace.branches or any(edge.reason == "left_framework" for edge in graph.edges):
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
        if _is_same(computation, values):
            return frozenset(values)
        alone = values.items() if len(values) > 1 else ()
        return frozenset(name for name, value in alone if _is_same(computation, {name: value}))


def _is_same(computation: Computation, values: Mapping[str, npt.NDArray[np.generic]]) -> bool:
    """Whether the loss is the same to the bit with other numbers in these weights."""
    rng = np.random.default_rng(0)
    far = {
        name: (value + rng.normal(size=value.shape) * _FAR * (1 + np.abs(value).max())).astype(value.dtype)
        for name, value in values.items()
    }
    nan = {name: np.full_like(value, np.nan) for name, value in values.items()}
    return loss_stays(computation, (far, nan))


def _chosen_by_values(graph: Graph) -> frozenset[int]:
    """Return the nodes from which a way leads to an operation that chooses by values."""
    from_values = graph.made_from_leaves(lambda leaf: leaf.kind != "constant")
    choosing = _CHOOSING | _deaf()

    def chooses(index: int, node: Node) -> bool:
        operation = node.operation.lower()
        varying = {graph.edges[edge].producer for edge in graph.made_from[index]} & from_values
        return len(varying) > 1 if operation in _BY_ANOTHER else operation in choosing

    return graph.back_from(i for i, n in enumerate(graph.nodes) if isinstance(n, Node) and chooses(i, n))


@cache
def _deaf() -> frozenset[str]:
    """Return the operations that NaN gets lost in on this backend."""
    nan = np.full((1,), np.nan, "float32")
    return frozenset(name for name, call in _HEARING.items() if not np.isnan(to_numpy(call(nan))).any())
