"""`intermediates` and `what_if`: the gradient at the outputs of layers, and what stopping it would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import ConsoleRenderable

from frostline.backends import dispatch
from frostline.diagnostics.audit import require_model
from frostline.diagnostics.loss import Question
from frostline.diagnostics.planned import planned
from frostline.diagnostics.probes import Probes, probes
from frostline.errors import listed
from frostline.graph.flow import Flow
from frostline.graph.ir import Edge, Graph, Node
from frostline.graph.reader import norm
from frostline.model.inventory import Inventory, LayerNode, itemsize
from frostline.plan.plan import Plan
from frostline.render import Rendered, bytes_text, share, stacked, table
from frostline.resolution.resolution import Resolution


@dataclass(frozen=True, slots=True)
class Intermediate:
    """The output of one layer, all its calls together.

    Attributes:
        layer: Address of the layer.
        shape: Shape of its output on this batch; of the first tensor where it has several.
        flows: Whether a gradient goes back through it to a weight that is to train.
        weights: Addresses of those weights.
        gradient_norm: Euclidean norm of the gradient of the loss by the output, on this batch; None where
            there is none.
        kept_bytes: How many bytes of it are kept for the backward pass, at most: all of it where an
            operation that is gone back through takes it, 0 elsewhere.
    """

    layer: str
    shape: tuple[int, ...]
    flows: bool
    weights: tuple[str, ...]
    gradient_norm: float | None
    kept_bytes: int


@dataclass(frozen=True)
class Intermediates(Rendered):
    """The outputs of all layers that are called, in the order of the model. Prints as a table.

    Attributes:
        model: Name of the model.
        rows: One for each layer.
    """

    model: str
    rows: tuple[Intermediate, ...]

    def __getitem__(self, layer: str) -> Intermediate:
        """Return the row of a layer; `KeyError` where none such is called."""
        return {row.layer: row for row in self.rows}[layer]

    def __iter__(self) -> Iterator[Intermediate]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (
                row.layer,
                " x ".join(map(str, row.shape)) or "scalar",
                "yes" if row.flows else "no",
                "none" if row.gradient_norm is None else f"{row.gradient_norm:.3g}",
                bytes_text(row.kept_bytes),
                listed(row.weights, most=2) if row.weights else "",
            )
            for row in self.rows
        ]
        columns = ("output of", "shape", "gradient flows", "norm", "kept", "to")
        return table(columns, rows, numbers=("norm", "kept"), title=f"Intermediates of {self.model}")


@dataclass(frozen=True)
class WhatIf(Rendered):
    """What stopping the gradient at the output of a layer would do. Prints as a short paragraph.

    Attributes:
        block: Address of the layer.
        starved: Addresses of the weights that would receive no gradient any more.
        operations: How many operations are gone back through now.
        saved_operations: How many of them would not be.
        kept_bytes: How many bytes of outputs of layers are kept for the backward pass now, at most.
        saved_bytes: How many of them would not be.
    """

    block: str
    starved: tuple[str, ...]
    operations: int
    saved_operations: int
    kept_bytes: int
    saved_bytes: int

    def __rich__(self) -> ConsoleRenderable:
        starved = listed(self.starved, most=6) if self.starved else "no weight"
        return stacked(
            f"with the gradient stopped at the output of {self.block!r}",
            f"  would starve: {starved}",
            f"  backward operations saved: {self.saved_operations:,} of {self.operations:,} "
            f"({share(self.saved_operations, self.operations or 1)})",
            f"  kept for the backward pass: {bytes_text(self.saved_bytes)} less of "
            f"{bytes_text(self.kept_bytes)}, in outputs of layers",
        )


def intermediates(
    model: Any, x: Any, y: Any = None, *, plan: Plan | Resolution | None = None, loss: Any = None
) -> Intermediates:
    """Say of the output of each layer whether a gradient flows through it, to what, and how much of it.

    Args:
        model: A built `keras.Model`.
        x: One batch of inputs, as `model.fit` takes them.
        y: Its targets.
        plan: Look at the model as under this plan; else as its own flags say.
        loss: The loss, in place of the compiled one, as for `audit`.

    Returns:
        A table with a row for each layer that is called.

    Raises:
        ModelError: Not a Keras model.
        AuditError: There is no loss.

    Example:
        >>> import keras, numpy as np
        >>> hidden = keras.layers.Dense(4, name="hidden", trainable=False)
        >>> model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(2, name="head")])
        >>> model.compile("adam", "mse")
        >>> seen = intermediates(model, np.ones((4, 3)), np.zeros((4, 2)))
        >>> [(row.layer, row.flows) for row in seen]
        [('hidden', False), ('head', True)]
    """
    return _looked_at(model, x, y, plan, loss, measured=True).table()


def what_if(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    block: str,
    plan: Plan | Resolution | None = None,
    loss: Any = None,
) -> WhatIf:
    """Say what stopping the gradient at the output of a layer would do: who starves, and what it saves.

    Args:
        model: A built `keras.Model`.
        x: One batch of inputs, as `model.fit` takes them.
        y: Its targets.
        block: Address of the layer, or a name that only one layer has.
        plan: Look at the model as under this plan; else as its own flags say.
        loss: The loss, in place of the compiled one, as for `audit`.

    Raises:
        ModelError: Not a Keras model, or it has no such layer.
        AuditError: There is no loss.

    Example:
        >>> import keras, numpy as np
        >>> layers = [keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2, name="head")]
        >>> model = keras.Sequential([keras.Input((3,)), *layers])
        >>> model.compile("adam", "mse")
        >>> what_if(model, np.ones((4, 3)), np.zeros((4, 2)), block="hidden").starved
        ('hidden/kernel', 'hidden/bias')
    """
    return _looked_at(model, x, y, plan, loss, measured=False).blocked(block)


def _looked_at(model: Any, x: Any, y: Any, plan: Any, loss: Any, *, measured: bool) -> _Look:
    require_model(model)
    with planned(model, plan) as now:
        question = Question(model, now.held, x, y, None, loss)
        subject = question.subject(now.trained)
        probing = probes(question, subject)
        probed = probing.subject(subject)
        graph = dispatch.trace(probed).graph
        norms: dict[str, float | None] = {}
        if measured:
            alone = probing.subject(question.subject(()))
            gradients = dispatch.measure(alone).gradients
            norms = {name: norm(gradient) for name, gradient in gradients.items()}
        return _Look(model.name, now.held, now.trained, probing, graph, norms)


@dataclass(frozen=True)
class _Look:
    """What was seen: the graph with a probe at the output of each layer, and the norms at the probes."""

    name: str
    held: Inventory
    trained: frozenset[str]
    probes: Probes = field(repr=False)
    graph: Graph = field(repr=False)
    norms: dict[str, float | None] = field(repr=False)

    def table(self) -> Intermediates:
        flow = Flow(self.graph)
        way = _way(self.graph, flow, self.trained)
        return Intermediates(self.name, tuple(self._row(node, flow, way) for node in self._called()))

    def blocked(self, block: str) -> WhatIf:
        node = self.held.find_layer(block)
        cut = {edge for place in self._places(node) for edge in self.graph.made_from[place]}
        edges = tuple(
            replace(edge, reason=edge.reason or "stop_gradient") if number in cut else edge
            for number, edge in enumerate(self.graph.edges)
        )
        graph = replace(self.graph, edges=edges)
        flows = Flow(self.graph), Flow(graph)
        ways = [_way(one.graph, one, self.trained) for one in flows]
        kept = [self._kept_in_all(one, way) for one, way in zip(flows, ways, strict=True)]
        weights = self.graph.weights
        starved = [
            w.address
            for w in self.held.of_role("weight")
            if w.address in self.trained
            and flows[0].live[weights[w.address]]
            and not flows[1].live[weights[w.address]]
        ]
        return WhatIf(
            node.address,
            tuple(starved),
            len(ways[0]),
            len(ways[0]) - len(ways[1]),
            kept[0],
            kept[0] - kept[1],
        )

    def _called(self) -> Iterator[LayerNode]:
        return (node for node in self.held.layers if node.address in self.probes.held)

    def _places(self, node: LayerNode) -> list[int]:
        """Return the nodes at which the probes of a layer are added to its output."""
        leaves = [self.graph.weights[name] for name in self.probes.names(node.address)]
        used = self.graph.used_by
        return [self._sum_behind(self.graph.edges[edge]) for leaf in leaves for edge in used[leaf]]

    def _sum_behind(self, edge: Edge) -> int:
        """Follow a probe over the operations that only prepare it, to the one that has a second input."""
        place = edge.consumer
        while len(self.graph.made_from[place]) == 1 and len(self.graph.used_by[place]) == 1:
            place = self.graph.edges[self.graph.used_by[place][0]].consumer
        return place

    def _row(self, node: LayerNode, flow: Flow, way: frozenset[int]) -> Intermediate:
        variables = self.probes.held[node.address]
        places = self._places(node)
        weights = self._weights_behind(places, flow)
        norms = [n for name in self.probes.names(node.address) if (n := self.norms.get(name)) is not None]
        return Intermediate(
            node.address,
            tuple(int(n) for n in variables[0].shape),
            bool(weights),
            weights,
            float(np.sqrt(np.sum(np.square(norms)))) if norms else None,
            self._kept(places, variables, flow, way),
        )

    def _weights_behind(self, places: list[int], flow: Flow) -> tuple[str, ...]:
        """The weights to which a gradient goes back from a place, over edges that let it pass."""
        met: set[int] = set()
        waiting = [place for place in places if flow.live[place]]
        while waiting:
            index = waiting.pop()
            if index not in met:
                met.add(index)
                edges = (self.graph.edges[edge] for edge in self.graph.made_from[index])
                waiting.extend(edge.producer for edge in edges if edge.passes)
        weights = self.graph.weights
        return tuple(
            w.address
            for w in self.held.of_role("weight")
            if w.address in self.trained and weights[w.address] in met
        )

    def _kept(self, places: list[int], variables: tuple[Any, ...], flow: Flow, way: frozenset[int]) -> int:
        consumers = {self.graph.edges[e].consumer for place in places for e in self.graph.used_by[place]}
        if way.isdisjoint(consumers):
            return 0
        return sum(int(np.prod(v.shape)) * itemsize(str(v.dtype)) for v in variables)

    def _kept_in_all(self, flow: Flow, way: frozenset[int]) -> int:
        held = self.probes.held
        return sum(self._kept(self._places(n), held[n.address], flow, way) for n in self._called())


def _way(graph: Graph, flow: Flow, trained: frozenset[str]) -> frozenset[int]:
    """The operations that a gradient is propagated back through on its way to a weight that is to train."""
    met: set[int] = set()
    waiting = [graph.weights[address] for address in trained]
    while waiting:
        index = waiting.pop()
        if index not in met and flow.live[index]:
            met.add(index)
            edges = (graph.edges[edge] for edge in graph.used_by[index])
            waiting.extend(edge.consumer for edge in edges if edge.passes)
    return frozenset(index for index in met if isinstance(graph.nodes[index], Node))
