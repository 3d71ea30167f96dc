"""From a traced graph of TensorFlow, and those it calls, to the neutral graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from frostline.backends.tensorflow.gradients import VALUELESS, differentiable, is_custom, reasons
from frostline.backends.tensorflow.operations import (
    called_graphs,
    holds_floats,
    nbytes,
    operation_name,
    place,
)
from frostline.backends.tensorflow.tracing import Recording, native
from frostline.graph.flow import Flow
from frostline.graph.ir import Builder, Graph, Leaf, Reason
from frostline.graph.reader import Computation, ReadVariable


class GraphTranslation:
    """Walks a traced graph, and those it calls, in the order in which they were made.

    `values` maps the `id` of each tensor to its index. A graph that is called twice is walked twice: what it
    gives depends on what it is called with.

    Attributes:
        unasked: Of which operations TensorFlow could not be asked for the gradient, in words.
    """

    def __init__(self, computation: Computation, recording: Recording) -> None:
        self._recording = recording
        self._build = Builder()
        self._unread = {source.name: source for source in computation.variables if source.kind == "weight"}
        self._sources = _sources(computation, recording)
        self.unasked: list[str] = []
        self._host_reads: list[int] = []
        """Nodes of the values that have left the graph so far: a later constant may come from any of them."""
        self._waiting = list(recording.answers.host_reads)
        """Values that will leave it further on, in the order of the operations before which they do."""
        self._left = [host_read.tensor for host_read in self._waiting]
        self._written: dict[int, int] = {}
        """What was last assigned to a variable; one for all graphs, which share their variables."""
        self._unregistered: dict[int, Any] = {}
        self._routes_only = computation.routes_only
        self._aside: set[int] = set()
        """With `routes_only`, the nodes that depend on no weight."""

    def graph(self) -> Graph:
        """Translate the whole."""
        recording = self._recording
        values: dict[int, int] = {}
        self._walk(recording, values, None, None)
        for name, source in self._unread.items():
            held = native(source.variable)
            self._build.leaf("weight", name, differentiable=held is None or differentiable(held))
        return self._build.graph(values[id(recording.loss)])

    def error(self, graph: Graph) -> str:
        """Return what TensorFlow says where a gradient would have to cross an operation that has none."""
        live = Flow(graph).live if self._unregistered else bytearray()
        for index, operation in self._unregistered.items():
            if live[index] and _stems_from_weight(graph, index):
                return f"No gradient defined for operation {operation.name!r} (op type: {operation.type})"
        return ""

    # Walking --------------------------------------------------------------------------------------

    def _walk(self, graph: Any, values: dict[int, int], layer: str | None, at: int | None) -> None:
        """Translate the operations of a graph, those of an inner one as part of operation `at` outside."""
        operations = graph.get_operations()
        layers = self._recording.layers_of(graph, layer)
        numbers = {id(operation): number for number, operation in enumerate(operations)}
        done = bytearray(len(operations))

        def visit(number: int) -> None:
            done[number] = 1
            for tensor in operations[number].inputs:
                # Asked for the gradient of a loop, TensorFlow gives it inputs that are made after it.
                if id(tensor) not in values:
                    visit(numbers[id(tensor.op)])
            self._operation(operations[number], values, layers[number], number if at is None else at)

        for number in range(len(operations)):
            if at is None:
                self._depart(number, values)
            if not done[number]:
                visit(number)

    def _operation(self, operation: Any, values: dict[int, int], layer: str | None, at: int) -> None:
        handler = _HANDLERS.get(operation.type)
        if handler is not None:
            handler(self, operation, values, layer, at)
        elif operation.outputs:
            self._plain(operation, values, layer)
        elif operation.inputs and operation.inputs[0].dtype == tf.resource:
            self.assign(operation, values, layer)

    def _depart(self, number: int, values: dict[int, int]) -> None:
        while self._waiting and self._waiting[0].at <= number:
            left = self._waiting.pop(0)
            index = self._build.node(
                left.operation,
                [(values[id(left.tensor)], "left_framework")],
                layer=left.layer,
                where=left.where,
                differentiable=False,
            )
            self._host_reads.append(index)

    def _plain(self, operation: Any, values: dict[int, int], layer: str | None) -> None:
        given = [values[id(tensor)] for tensor in operation.inputs]
        if self._routes_only and self._aside.issuperset(given):
            for tensor in operation.outputs:
                values[id(tensor)] = self._put_aside(holds_floats(operation, tensor))
            return
        where = place(operation)
        custom = operation.type == "IdentityN" and is_custom(operation)
        for output, tensor in enumerate(operation.outputs):
            if custom and not self._leads_on(tensor):
                continue
            inputs: list[tuple[int, Reason | None]] = []
            if operation.type not in VALUELESS:
                inputs = list(zip(given, reasons(operation, output, self.unasked), strict=True))
            if custom:
                # TensorFlow runs the function, then puts an identity behind it that takes the results and the
                # arguments. A value comes from its own result alone, gradients go to the arguments.
                inputs = [(i, why) for n, (i, why) in enumerate(inputs) if n == output or why is None]
            index = self._build.node(
                "custom_gradient" if custom else operation_name(operation.type),
                [*inputs],
                layer=layer,
                where=where,
                differentiable=holds_floats(operation, tensor),
                dtype=tensor.dtype.name,
                shape=tensor.shape if tensor.shape.rank is not None else None,
            )
            values[id(tensor)] = index
            if any(why == "unregistered" for _, why in inputs):
                self._unregistered[index] = operation

    def _leads_on(self, tensor: Any) -> bool:
        ends = (self._recording.loss, *tensor.graph.outputs, *self._left)
        return bool(tensor.consumers()) or any(tensor is end for end in ends)

    # Leaves ---------------------------------------------------------------------------------------

    def leaf(self, operation: Any, values: dict[int, int], layer: str | None, at: int) -> None:
        """Add a placeholder or a constant."""
        tensor = operation.outputs[0]
        if id(tensor) in values:
            return
        source = self._sources.get(id(tensor))
        if source is not None:
            self._unread.pop(source.name, None)
            held = native(source.variable) if tensor.dtype == tf.resource else tensor
            values[id(tensor)] = self._build.leaf(
                source.kind,
                source.name,
                nbytes=nbytes(held),
                differentiable=differentiable(held),
                layer=layer,
                where=place(operation),
            )
            if source.kind != "weight":
                self._aside.add(values[id(tensor)])
        elif operation.type == "Const" and self._host_reads:
            # What Python did with a value that left cannot be followed: any later constant may come from it.
            values[id(tensor)] = self._build.node(
                "constant",
                [(left, "left_framework") for left in self._host_reads],
                layer=layer,
                where=place(operation),
                differentiable=differentiable(tensor),
            )
        else:
            known = differentiable(tensor)
            values[id(tensor)] = self._build.leaf("constant", nbytes=nbytes(tensor), differentiable=known)
            self._aside.add(values[id(tensor)])

    def _put_aside(self, differentiable: bool) -> int:
        index = self._build.leaf("constant", differentiable=differentiable)
        self._aside.add(index)
        return index

    def read(self, operation: Any, values: dict[int, int], layer: str | None, at: int) -> None:
        """Let what is read of a variable be the variable, or what was last assigned to it."""
        variable = values[id(operation.inputs[0])]
        values[id(operation.outputs[0])] = self._written.get(variable, variable)

    def assign(self, operation: Any, values: dict[int, int], layer: str | None) -> None:
        """Note that a variable holds another value from here on."""
        variable = values[id(operation.inputs[0])]
        inputs: list[int | tuple[int, Reason | None]] = [self._written.get(variable, variable)]
        inputs += [(values[id(tensor)], "detached") for tensor in operation.inputs[1:]]
        self._written[variable] = self._build.node("assign", inputs, layer=layer, where=place(operation))

    # Calls, conditions, loops ---------------------------------------------------------------------

    def call(self, operation: Any, values: dict[int, int], layer: str | None, at: int) -> None:
        """Add the function that is called as if it stood here."""
        (graph,) = called_graphs(operation, "f")
        results = self._inline(graph, [values[id(tensor)] for tensor in operation.inputs], layer, at)
        # A function that was loaded may keep more for its own gradient than the call asks for.
        values.update(zip(map(id, operation.outputs), results, strict=False))

    def condition(self, operation: Any, values: dict[int, int], layer: str | None, at: int) -> None:
        """Add all branches, and a node for each result that any of them may give."""
        # A branch is walked as if those before it had run, too: what they assign to a variable is read in it.
        # That adds routes, and loses none, since the node of an assignment leads back to the variable.
        chosen, *given = (values[id(tensor)] for tensor in operation.inputs)
        names = ("branches",) if "Case" in operation.type else ("then_branch", "else_branch")
        branches = [
            self._inline(graph, given, layer, at)
            for name in names
            for graph in called_graphs(operation, name)
        ]
        where = place(operation)
        for tensor, *results in zip(operation.outputs, *branches, strict=True):
            floats = any(self._build[result].differentiable for result in results)
            values[id(tensor)] = self._build.node(
                "cond", [chosen, *results], layer=layer, where=where, differentiable=floats
            )

    def loop(self, operation: Any, values: dict[int, int], layer: str | None, at: int) -> None:
        """Add body and test once each, and an edge back for each value that a turn hands to the next."""
        (body,) = called_graphs(operation, "body")
        (test,) = called_graphs(operation, "cond")
        where = place(operation)
        carried = []
        for tensor, start, end in zip(operation.inputs, body.inputs, body.outputs, strict=True):
            index = values[id(tensor)]
            if start is not end:
                floats = self._build[index].differentiable
                index = self._build.node("loop", [index], layer=layer, where=where, differentiable=floats)
            carried.append(index)
        ends = self._inline(body, carried, layer, at)
        (goes_on,) = self._inline(test, carried, layer, at)
        # With the edge back, a route that takes several turns is found as any other. What the body hands on
        # unchanged is the same value outside.
        for number, (start, end, result) in enumerate(zip(body.inputs, body.outputs, ends, strict=True)):
            if start is not end:
                self._build.edge(result, carried[number])
                # A loop is taken to run at least once: what leaves it is what its body made.
                floats = self._build[result].differentiable
                carried[number] = self._build.node(
                    "loop", [result, goes_on], layer=layer, where=where, differentiable=floats
                )
        values.update(zip(map(id, operation.outputs), carried, strict=True))

    def _inline(self, graph: Any, given: Sequence[int], layer: str | None, at: int) -> list[int]:
        """Translate the graph of a function that is called with these values, and return its results."""
        values = dict(zip(map(id, graph.inputs), given, strict=True))
        self._walk(graph, values, layer, at)
        return [values[id(tensor)] for tensor in graph.outputs]


_HANDLERS: dict[str, Callable[[GraphTranslation, Any, dict[int, int], str | None, int], None]] = {
    "Const": GraphTranslation.leaf,
    "Placeholder": GraphTranslation.leaf,
    "ReadVariableOp": GraphTranslation.read,
    "PartitionedCall": GraphTranslation.call,
    "StatefulPartitionedCall": GraphTranslation.call,
    "If": GraphTranslation.condition,
    "StatelessIf": GraphTranslation.condition,
    "Case": GraphTranslation.condition,
    "StatelessCase": GraphTranslation.condition,
    "While": GraphTranslation.loop,
    "StatelessWhile": GraphTranslation.loop,
}


def _sources(computation: Computation, recording: Recording) -> dict[int, ReadVariable]:
    """Return what the captured tensors stand for, by the `id` of their placeholders."""
    known: dict[int, ReadVariable] = {}
    for variable in recording.watched:
        known[id(variable.handle)] = ReadVariable(variable.name.partition(":")[0], variable, "foreign")
    for variable, _ in recording.watch.read.values():
        known[_handle(variable)] = ReadVariable(variable.path, variable, "foreign")
    for source in computation.variables:
        known[_handle(source.variable)] = source
    captured = {id(inner): known[id(outer)] for outer, inner in recording.captures if id(outer) in known}
    return captured | recording.sources


def _handle(variable: Any) -> int:
    """Return the `id` of the tensor by which a graph refers to a variable."""
    held = native(variable)
    return id(getattr(held, "handle", held))


def _stems_from_weight(graph: Graph, index: int) -> bool:
    waiting, met = [index], {index}
    while waiting:
        node = graph.nodes[waiting[-1]]
        if isinstance(node, Leaf) and node.kind == "weight":
            return True
        producers = {graph.edges[edge].producer for edge in graph.made_from[waiting.pop()]}
        waiting.extend(producers - met)
        met |= producers
    return False
