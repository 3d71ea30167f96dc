"""What the model's own code adds by `add_loss`, looked at apart from the loss of the data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from frostline.backends import dispatch
from frostline.diagnostics.diagnosis import Diagnosis
from frostline.diagnostics.model_loss import ModelLoss
from frostline.graph.ir import Leaf, Node
from frostline.graph.reader import Measured, Trace

ADDED = "the loss on the data does not move it; what add_loss adds does"
"""Of a weight that trains by `add_loss` alone."""

_TOGETHER = {
    *("add", "sum", "cast", "convert_to_tensor", "reshape", "squeeze", "expand_dims"),
    *("stack", "pack", "concatenate", "broadcast_in_dim"),
}
"""Operations that do no more to numbers than to add them up."""


@dataclass(frozen=True)
class AddedLosses:
    """The loss of the data with what `add_loss` adds, and without regularizers.

    Attributes:
        trace: What the reader saw.
        measured: The gradients.
    """

    trace: Trace
    measured: Measured

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What it says of each weight that was asked about."""
        return Diagnosis(self.trace, self.measured, of_model=True)

    def moves(self, names: Collection[str]) -> bool:
        """Whether it gives a gradient to a weight, or a part of it, that the loss of the data gives none.

        A term that is computed from weights alone is a regularizer by another name, and trains nothing.
        """
        gradients = (self.measured.gradients.get(name) for name in names)
        given = any(one is not None and bool(one.any()) for one in gradients)
        return given and any(self.trace.graph.weights.get(name) in self._beside_data for name in names)

    @cached_property
    def _beside_data(self) -> frozenset[int]:
        """The nodes that a gradient comes back to from a term of the loss which is also made from data."""
        graph = self.trace.graph
        data = graph.onward_from(index for index, _ in graph.leaves("input"))
        waiting, met = [term for term in self._terms() if term in data], set[int]()
        while waiting:
            index = waiting.pop()
            if index not in met:
                met.add(index)
                into = (graph.edges[edge] for edge in graph.made_from[index])
                waiting += [edge.producer for edge in into if edge.passes]
        return frozenset(met)

    def _terms(self) -> list[int]:
        """Return the numbers that the loss is the sum of."""
        graph = self.trace.graph
        waiting, met, terms = [graph.loss], set[int](), []
        while waiting:
            index = waiting.pop()
            if index in met:
                continue
            met.add(index)
            node = graph.nodes[index]
            before = [graph.edges[edge].producer for edge in graph.made_from[index]]
            if isinstance(node, Node) and node.operation in _TOGETHER and self._adds(node, before):
                waiting += before
            else:
                terms.append(index)
        return terms

    def _adds(self, node: Node, before: list[int]) -> bool:
        """Whether losses are added there: by Keras, outside of layers, or numbers that the user made."""
        nodes = (self.trace.graph.nodes[index] for index in before)
        by_keras = node.layer is None and node.where is None
        return by_keras or all(isinstance(one, Leaf) or one.shape == () for one in nodes)


def added_losses(loss: ModelLoss, wanted: Collection[str]) -> AddedLosses | None:
    """Look at what is added to a loss that was computed without; None where nothing is."""
    if "add_loss" not in loss.left_out:
        return None
    computation = loss.with_added().computation(wanted)
    return AddedLosses(dispatch.trace(computation), dispatch.measure(computation))
