"""The outputs of layers in the gradient graph of a loss: which weights lie behind, and what is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from frostline.backends import dispatch
from frostline.diagnostics.inspect_model import require_model
from frostline.diagnostics.model_loss import ModelLoss
from frostline.diagnostics.output_probes import OutputProbes, make_probes
from frostline.diagnostics.planned_training import PlannedTraining, under_plan
from frostline.graph.flow import Flow
from frostline.graph.ir import Edge, Graph, Node
from frostline.graph.reader import Computation
from frostline.model.inventory import Inventory, LayerNode, Weight, itemsize
from frostline.model.task_data import as_trained
from frostline.plan.plan import Plan
from frostline.resolution.resolution import Resolution


@dataclass(frozen=True)
class LayerOutputs:
    """The graph of a loss with a probe at the output of each layer.

    Attributes:
        loss: The loss.
        planned: Which weights are to train.
        probes: The probes.
        graph: The graph, in which probes are weights.
    """

    loss: ModelLoss = field(repr=False)
    planned: PlannedTraining = field(repr=False)
    probes: OutputProbes = field(repr=False)
    graph: Graph = field(repr=False)

    @property
    def inventory(self) -> Inventory:
        """The weights and layers of the model."""
        return self.planned.inventory

    def called(self) -> Iterator[LayerNode]:
        """Yield the layers that are called, in the order of the model."""
        return (node for node in self.inventory.layers if node.address in self.probes.variables)

    def without_weights(self) -> Computation:
        """Return the loss as a function of the probes alone."""
        return self.probes.added_to(self.loss.computation(()))

    def with_gradient_stopped_at(self, node: LayerNode) -> LayerOutputs:
        """Return the same graph with the gradient stopped at the output of a layer."""
        cut = {edge for place in self._places(node) for edge in self.graph.made_from[place]}
        edges = tuple(
            replace(edge, reason=edge.reason or "stop_gradient") if number in cut else edge
            for number, edge in enumerate(self.graph.edges)
        )
        return replace(self, graph=replace(self.graph, edges=edges))

    @cached_property
    def reachable_weights(self) -> tuple[str, ...]:
        """Addresses of the weights that are to train and that a gradient comes back to."""
        return self._trained_among(index for index, live in enumerate(self._flow.live) if live)

    def weights_behind(self, node: LayerNode) -> tuple[str, ...]:
        """Return the addresses of the weights to which a gradient goes back from the output of a layer."""
        met: set[int] = set()
        waiting = [place for place in self._places(node) if self._flow.live[place]]
        while waiting:
            index = waiting.pop()
            if index not in met:
                met.add(index)
                edges = (self.graph.edges[edge] for edge in self.graph.made_from[index])
                waiting.extend(edge.producer for edge in edges if edge.passes)
        return self._trained_among(met)

    def shape(self, node: LayerNode) -> tuple[int, ...]:
        """Return the shape of the output of a layer, of its first tensor where it has several."""
        return tuple(int(size) for size in self.probes.variables[node.address][0].shape)

    def kept_bytes(self, node: LayerNode) -> int:
        """Return how many bytes of the output of a layer are kept for the backward pass, at most."""
        used_by = self.graph.used_by
        consumers = {self.graph.edges[e].consumer for place in self._places(node) for e in used_by[place]}
        if self.backward.isdisjoint(consumers):
            return 0
        return sum(
            int(np.prod(v.shape)) * itemsize(str(v.dtype)) for v in self.probes.variables[node.address]
        )

    def kept_bytes_in_all(self) -> int:
        """Return the same for all layers."""
        return sum(map(self.kept_bytes, self.called()))

    @cached_property
    def backward(self) -> frozenset[int]:
        """The operations that a gradient is propagated back through on its way to a weight that trains."""
        met: set[int] = set()
        own = self.inventory.of_role("weight")
        waiting = [node for w in own if w.address in self.planned.trained for node in self._nodes_of(w)]
        while waiting:
            index = waiting.pop()
            if index not in met and self._flow.live[index]:
                met.add(index)
                edges = (self.graph.edges[edge] for edge in self.graph.used_by[index])
                waiting.extend(edge.consumer for edge in edges if edge.passes)
        return frozenset(index for index in met if isinstance(self.graph.nodes[index], Node))

    @cached_property
    def _flow(self) -> Flow:
        return Flow(self.graph)

    def _trained_among(self, nodes: Iterable[int]) -> tuple[str, ...]:
        """Return the addresses of the weights among these nodes that are to train, in the model's order."""
        found, trained = set(nodes), self.planned.trained
        weights = (w for w in self.inventory.of_role("weight") if w.address in trained)
        return tuple(w.address for w in weights if not found.isdisjoint(self._nodes_of(w)))

    def _nodes_of(self, weight: Weight) -> list[int]:
        """Return the nodes of a weight: of its parts, where it is made of them."""
        return [self.graph.weights[name] for name, _ in weight.targets if name in self.graph.weights]

    def _places(self, node: LayerNode) -> list[int]:
        """Return the nodes at which the probes of a layer are added to its output."""
        leaves = [self.graph.weights[name] for name in self.probes.names(node.address)]
        used_by = self.graph.used_by
        return [self._addition_of(self.graph.edges[edge]) for leaf in leaves for edge in used_by[leaf]]

    def _addition_of(self, edge: Edge) -> int:
        """Follow a probe over the operations that only prepare it, to the one that has a second input."""
        place = edge.consumer
        while len(self.graph.made_from[place]) == 1 and len(self.graph.used_by[place]) == 1:
            place = self.graph.edges[self.graph.used_by[place][0]].consumer
        return place


@contextmanager
def trace_outputs(
    model: Any, x: Any, y: Any, *, plan: Plan | Resolution | None, loss: Any
) -> Iterator[LayerOutputs]:
    """Trace the loss of a model with a probe at the output of each layer, under a plan inside the block.

    Args:
        model: As for `audit`.
        x: As for `audit`.
        y: As for `audit`.
        plan: As for `audit`.
        loss: As for `audit`.
    """
    require_model(model)
    x, y, sample_weight = as_trained(model, x, y)
    with under_plan(model, plan) as planned:
        model_loss = ModelLoss(model, planned.inventory, x, y, sample_weight, loss)
        computation = model_loss.computation(planned.trained)
        probes = make_probes(computation)
        yield LayerOutputs(model_loss, planned, probes, dispatch.trace(probes.added_to(computation)).graph)
