"""The neutral form of a gradient graph: values, what they depend on, and where a gradient passes back.

Knows no framework. Readers fill it through `Builder`; `flow` analyses it.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

Reason = Literal[
    "stop_gradient",
    "not_differentiable",
    "integer",
    "detached",
    "left_framework",
    "unregistered",
    "no_grad",
    "zero_gradient",
]
"""Why a gradient does not pass an edge.

- `stop_gradient`: an operation whose purpose is to stop it.
- `not_differentiable`: the derivative is zero wherever it exists (`round`, `floor`, `sign`).
- `integer`: one end is an integer or a boolean, by which nothing can be differentiated (`argmax`, `x > 0`).
- `detached`: taken out of the framework's record, as by `detach` or `data`.
- `left_framework`: turned into a NumPy array or a Python number.
- `unregistered`: the framework has no derivative for the operation, and raises where one is asked for.
- `no_grad`: computed while recording was switched off.
- `zero_gradient`: a custom gradient that returns zeros or nothing, whatever it is given.
"""

REASONS: tuple[Reason, ...] = get_args(Reason)

Kind = Literal["weight", "state", "input", "constant", "foreign"]
"""What a leaf is.

- `weight`: one of the variables that the question is about.
- `state`: another variable that its model owns: statistics, random seeds.
- `input`: data.
- `constant`: any other captured value.
- `foreign`: a variable that the computation reads and that nobody named.
"""


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a source file.

    Attributes:
        file: Path of the file, or what Python calls it (`<stdin>`).
        line: Line number, from 1.
        function: Name of the function around it.
    """

    file: str
    line: int
    function: str

    @property
    def source(self) -> str:
        """The text of the line without its indentation, `""` where it cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that no operation makes.

    Attributes:
        kind: What it is.
        name: Address of a weight or state, name of an input or of a foreign variable; `""` for constants.
        nbytes: How many bytes its values take; 0 where it does not matter.
        differentiable: Whether it is of a floating or complex dtype.
        layer: Address of the layer that first read it, where known.
        where: The place that first read it, where known.
    """

    kind: Kind
    name: str = ""
    nbytes: int = 0
    differentiable: bool = True
    layer: str | None = None
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One output of one operation.

    Attributes:
        operation: What users call it: `argmax`, `stop_gradient`, `matmul`.
        layer: Address of the innermost layer that was being called, `""` for the model itself, None outside.
        where: The user's line, where known.
        differentiable: Whether it is a tensor of a floating or complex dtype.
        dtype: Name of its dtype, `""` where that is not known.
        shape: Its shape, None where that is not known; a size that is not known is -1.
    """

    operation: str
    layer: str | None = None
    where: Where | None = None
    differentiable: bool = True
    dtype: str = field(default="", compare=False)
    shape: tuple[int, ...] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Edge:
    """One value used by an operation.

    Attributes:
        producer: Index of the value that is used.
        consumer: Index of the value that is made from it.
        reason: Why no gradient passes from consumer to producer; None where one does.
    """

    producer: int
    consumer: int
    reason: Reason | None = None

    @property
    def passes(self) -> bool:
        """Whether a gradient passes from the consumer back to the producer."""
        return self.reason is None


@dataclass(frozen=True)
class Graph:
    """All that a loss is computed from, one node for each value. May have cycles, where there are loops.

    Attributes:
        nodes: Leaves and outputs of operations. An edge names them by index.
        edges: Which of them is made from which.
        loss: Index of the loss.

    Example:
        >>> build = Builder()
        >>> kernel = build.leaf("weight", "head/kernel")
        >>> rounded = build.node("round", [(kernel, "not_differentiable")])
        >>> graph = build.graph(loss=build.node("mean", [rounded]))
        >>> [edge.passes for edge in graph.edges]
        [False, True]
    """

    nodes: tuple[Leaf | Node, ...]
    edges: tuple[Edge, ...]
    loss: int

    @cached_property
    def used_by(self) -> tuple[tuple[int, ...], ...]:
        """For each node the indexes of the edges that lead on from it."""
        return _grouped((edge.producer for edge in self.edges), len(self.nodes))

    @cached_property
    def made_from(self) -> tuple[tuple[int, ...], ...]:
        """For each node the indexes of the edges that lead into it."""
        return _grouped((edge.consumer for edge in self.edges), len(self.nodes))

    def leaves(self, *kinds: Kind) -> Iterator[tuple[int, Leaf]]:
        """Yield the leaves of these kinds with their indexes."""
        for index, node in enumerate(self.nodes):
            if isinstance(node, Leaf) and node.kind in kinds:
                yield index, node

    def made_from_leaves(self, chosen: Callable[[Leaf], bool]) -> frozenset[int]:
        """Return the indexes of the chosen leaves, and of all that is made from them, cut or not."""
        return self.onward_from(
            i for i, leaf in enumerate(self.nodes) if isinstance(leaf, Leaf) and chosen(leaf)
        )

    def onward_from(self, nodes: Iterable[int]) -> frozenset[int]:
        """Return the indexes of these nodes, and of all that is made from them, cut or not."""
        return _met(nodes, lambda index: (self.edges[edge].consumer for edge in self.used_by[index]))

    def back_from(self, nodes: Iterable[int]) -> frozenset[int]:
        """Return the indexes of these nodes, and of all that they are made from, cut or not."""
        return _met(nodes, lambda index: (self.edges[edge].producer for edge in self.made_from[index]))

    @cached_property
    def weights(self) -> dict[str, int]:
        """The index of each weight, by its name."""
        return {leaf.name: index for index, leaf in self.leaves("weight")}


def _met(nodes: Iterable[int], following: Callable[[int], Iterable[int]]) -> frozenset[int]:
    waiting, met = list(nodes), set[int]()
    while waiting:
        index = waiting.pop()
        if index not in met:
            met.add(index)
            waiting.extend(following(index))
    return frozenset(met)


def _grouped(ends: Iterator[int], count: int) -> tuple[tuple[int, ...], ...]:
    groups: list[list[int]] = [[] for _ in range(count)]
    for index, end in enumerate(ends):
        groups[end].append(index)
    return tuple(tuple(group) for group in groups)


class Builder:
    """Collects the nodes and edges of a graph, in any order that makes a value before it is used.

    An edge with an integer at one end never passes: where a reader gives no better reason, it is `integer`.
    """

    def __init__(self) -> None:
        self._nodes: list[Leaf | Node] = []
        self._edges: list[Edge] = []

    def leaf(
        self,
        kind: Kind,
        name: str = "",
        *,
        nbytes: int = 0,
        differentiable: bool = True,
        layer: str | None = None,
        where: Where | None = None,
    ) -> int:
        """Add a value that no operation makes, and return its index. The same variable is one leaf."""
        return self._add(Leaf(kind, name, nbytes, differentiable, layer, where))

    def node(
        self,
        operation: str,
        inputs: Sequence[int | tuple[int, Reason | None]] = (),
        *,
        layer: str | None = None,
        where: Where | None = None,
        differentiable: bool = True,
        dtype: str = "",
        shape: Iterable[int | None] | None = None,
    ) -> int:
        """Add one output of an operation, and return its index.

        Args:
            operation: What users call it.
            inputs: What it is made from: an index where a gradient passes, else an index and a reason.
            layer: As in `Node`.
            where: As in `Node`.
            differentiable: As in `Node`.
            dtype: As in `Node`.
            shape: As in `Node`; None for a size that is not known.
        """
        sizes = None if shape is None else tuple(-1 if size is None else int(size) for size in shape)
        index = self._add(Node(operation, layer, where, differentiable, dtype, sizes))
        for entry in inputs:
            producer, reason = entry if isinstance(entry, tuple) else (entry, None)
            self.edge(producer, index, reason)
        return index

    def edge(self, producer: int, consumer: int, reason: Reason | None = None) -> None:
        """Add a dependence, also one that closes a loop."""
        ends = self._nodes[producer], self._nodes[consumer]
        if reason in (None, "not_differentiable") and not all(node.differentiable for node in ends):
            reason = "integer"
        self._edges.append(Edge(producer, consumer, reason))

    def place(self, index: int, layer: str | None, where: Where | None) -> None:
        """Say where a leaf was first read, as far as that is not known yet."""
        leaf = self._nodes[index]
        if isinstance(leaf, Leaf):
            self._nodes[index] = replace(leaf, layer=leaf.layer or layer, where=leaf.where or where)

    def __getitem__(self, index: int) -> Leaf | Node:
        return self._nodes[index]

    def __len__(self) -> int:
        return len(self._nodes)

    def graph(self, loss: int) -> Graph:
        """Return what was collected, with the loss at this index."""
        return Graph(tuple(self._nodes), tuple(self._edges), loss)

    def _add(self, node: Leaf | Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1
