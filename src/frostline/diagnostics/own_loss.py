"""What a loss of the user's own does with its targets, seen by computing it with other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.variables import to_numpy
from frostline.diagnostics.targets import Misfit, Target
from frostline.errors import said
from frostline.graph.ir import Graph, Node, Where

Array = npt.NDArray[Any]

_FEWEST = 4
_MOST_COLUMNS = 16
_MOST_SAMPLES = 32
"""How much is looked at: each takes a handful of evaluations of the loss on this many samples."""

_SAME = 1e-5
"""How much a loss may change, relative to its size, by the order of its sums."""

_MEANT = frozenset(("matmul", "dot", "dot_general", "einsum", "tensordot", "cdist", "linear", "addmm", "bmm"))
"""Operations by which all pairs of samples are taken on purpose."""

_REPEATING = frozenset(("broadcast_in_dim", "broadcast_to", "expand", "broadcastto"))
"""Operations that only repeat an operand, which other backends do within the next one."""


def misfits_of_own_loss(target: Target, output: Array, graph: Graph) -> Iterator[Misfit]:
    """Yield what does not fit between the targets of one output and a loss that is not one of Keras's.

    Args:
        target: The targets.
        output: What the model makes of the same samples.
        graph: The gradient graph of the loss.
    """
    values = target.values
    is_own = target.kind == "" and callable(target.loss)
    if not is_own or values.dtype.kind not in "fiub" or values.ndim < 1 or len(values) != len(output):
        return
    if len(values) < _FEWEST or not np.isfinite(values).all():
        return

    def total(y: Array, predicted: Array) -> float:
        given = keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(predicted)
        return float(np.asarray(to_numpy(keras.ops.sum(target.loss(*given))), "float64"))

    try:
        yield from _stretched(target, output, graph, total)
        yield from _flat(target, output, graph, total)
    except Exception as error:  # of the user's loss, which may be made for these samples alone
        yield Misfit(
            target.output,
            f"whether the loss pairs outputs with their targets was not seen: with other numbers it raises "
            f"{said(error)}",
            "nothing need be done where the loss is meant for one batch alone",
            "note",
        )


def _stretched(
    target: Target, output: Array, graph: Graph, total: Callable[[Array, Array], float]
) -> Iterator[Misfit]:
    """Find a column of the targets of which it does not matter which sample it belongs to.

    Both are asked for: that the loss stays the same whichever sample has which number, while each output
    counts by itself; and an operation that makes all pairs of samples by repeating an operand.
    """
    values, rng = target.values, np.random.default_rng(0)
    where = _pairs_made_at(graph, len(values))
    if where is None or not _adds_up(values, output, total):
        return
    usual = total(values, output)
    for column, name in _columns(values):
        own = values[column]
        if len(np.unique(own, axis=0)) < 2:
            continue
        orders = [np.roll(np.arange(len(own)), 1), rng.permutation(len(own))]
        shuffled = [total(_with(values, column, own[order]), output) for order in orders]
        drawn = total(_with(values, column, own[rng.integers(len(own), size=len(own))]), output)
        if _is_same(drawn, usual) or not all(_is_same(one, usual) for one in shuffled):
            continue
        yield Misfit(
            target.output,
            f"it makes no difference to the loss which sample has which {name}: targets of shape "
            f"{values.shape} and an output of {output.shape} are stretched to all pairs of samples",
            "give both the same shape inside the loss, such as (n, 1): y[:, :1] in place of y[:, 0]",
            where=where,
        )
        return


def _columns(values: Array) -> Iterator[tuple[Any, str]]:
    """Yield what of the targets is looked at: each number of a sample, where these are few, or all."""
    if values.ndim == 2 and 1 < values.shape[1] <= _MOST_COLUMNS:
        yield from (
            ((slice(None), number), f"number {number} of its targets") for number in range(values.shape[1])
        )
    yield ..., "targets"


def _with(values: Array, column: Any, other: Array) -> Array:
    changed = values.copy()
    changed[column] = other
    return changed


def _is_same(one: float, other: float) -> bool:
    return bool(np.isclose(one, other, rtol=_SAME, atol=0))


def _adds_up(values: Array, output: Array, total: Callable[[Array, Array], float]) -> bool:
    """Whether each output counts by itself: what all of them change is the sum of what two halves change."""
    halves = [np.zeros_like(output), np.zeros_like(output)]
    for number, change in enumerate(halves):
        change[number::2] = output.std() or 1.0
    usual = total(values, output)
    if total(values, output) != usual:
        return False  # it draws at random
    first, second = (total(values, output + change) - usual for change in halves)
    both = total(values, output + halves[0] + halves[1]) - usual
    largest = max(abs(first), abs(second))
    return largest > _SAME * abs(usual) and abs(both - first - second) <= 1e-3 * largest


def _pairs_made_at(graph: Graph, samples: int) -> Where | None:
    """Return the line, outside of layers, at which targets meet outputs in all pairs of samples."""
    outputs = graph.made_from_leaves(lambda leaf: leaf.kind == "weight")
    of_targets = graph.made_from_leaves(lambda leaf: leaf.kind == "input" and leaf.name.split("/")[0] == "y")
    targets = of_targets - outputs
    for index, node in enumerate(graph.nodes):
        if not isinstance(node, Node) or node.layer or node.where is None or node.operation in _MEANT:
            continue
        before = {graph.edges[edge].producer for edge in graph.made_from[index]}
        if before.isdisjoint(outputs) or before.isdisjoint(targets) or not _has_pairs(node.shape, samples):
            continue
        made = [one for one in map(graph.nodes.__getitem__, before) if isinstance(one, Node)]
        if not any(_has_pairs(one.shape, samples) and one.operation not in _REPEATING for one in made):
            return node.where
    return None


def _has_pairs(shape: tuple[int, ...] | None, samples: int) -> bool:
    return shape is not None and len(shape) > 1 and shape[0] == samples and samples in shape[1:]


def _flat(
    target: Target, output: Array, graph: Graph, total: Callable[[Array, Array], float]
) -> Iterator[Misfit]:
    """Find samples whose loss is the same a little above and a little below what they are to be."""
    values = target.values[:_MOST_SAMPLES].astype(output.dtype)
    if target.values.dtype.kind != "f" or values.shape != output[:_MOST_SAMPLES].shape:
        return
    apart = values.std()
    if not apart or total(values, values) != total(values, values):
        return
    at_target, flat = total(values, values), []
    for number in range(len(values)):
        change = np.zeros_like(values)
        change[number] = apart / 2
        if total(values, values + change) == at_target == total(values, values - change):
            flat.append(number)
    flat = [number for number in flat if _matters(values, number, total)]
    # What stands for "no target here" is one number, and is to be flat.
    if 2 * len(flat) < len(values) or len(np.unique(values[flat], axis=0)) < 3:
        return
    yield Misfit(
        target.output,
        f"for {len(flat)} of {len(values)} samples the loss is the same above and below the target, so that "
        f"it does not ask for it: targets reach from {values.min():.3g} to {values.max():.3g}, out of the "
        "range in which the loss tells numbers apart",
        "take a loss for any number, such as mse, or scale targets into the range that the loss is made for",
        where=_limited_at(graph),
    )


def _matters(values: Array, number: int, total: Callable[[Array, Array], float]) -> bool:
    """Whether the loss tells some outputs of a sample apart; a weight of zero leaves all the same."""
    tried = []
    for output in (0.3, 0.6):
        others = values.copy()
        others[number] = output
        tried.append(total(values, others))
    return tried[0] != tried[1]


def _limited_at(graph: Graph) -> Where | None:
    """Return the first line, outside of layers, at which numbers are clipped; else that of the loss."""
    outside = [n for n in graph.nodes if isinstance(n, Node) and not n.layer and n.where is not None]
    clipped = (n.where for n in outside if n.operation in _LIMITS)
    return next(clipped, outside[-1].where if outside else None)


_LIMITS = frozenset(
    ("clip", "clamp", "clip_by_value", "clipbyvalue", "maximum", "minimum", "max", "min", "relu")
)
