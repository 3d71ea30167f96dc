"""Which values a gradient reaches, where it stops, and on which route. Knows no framework.

All of it takes time linear in the graph, and the loops in it need no special care: a value is live when some
way of passing edges leads from it to the loss, however often that way goes round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from frostline.graph.ir import Edge, Graph, Leaf

StructuralStatus = Literal["trains", "cut", "unused"]
"""What the structure alone says of a weight."""


@dataclass(frozen=True)
class Flow:
    """The way of the gradient through one graph.

    A value is *live* where the derivative of the loss by it is structurally defined: some route of passing
    edges leads from it to the loss. A *cut* is an edge at which that ends: what it makes is live or the loss,
    what it uses is not. Integers and booleans on the way are looked through: the cut is then where the
    floating numbers were left, at the `argmax` and not at the `one_hot` that takes its result.

    Cuts *behind* others show only once those are mended, so that a user is not sent from one to the next.
    What is mended is an edge and not the value that it makes: `where(c, x, y)` stops the gradient to `c`
    alone, and `x` and `y` need no mending. To mend the value would open routes that nobody offered to open.

    Attributes:
        graph: The graph.
        mended: Edges to take for passing although they are not: "what if these cuts were mended?"

    Example:
        >>> from frostline.graph.ir import Builder
        >>> build = Builder()
        >>> kernel = build.leaf("weight", "kernel")
        >>> stopped = build.node("stop_gradient", [(kernel, "stop_gradient")])
        >>> flow = Flow(build.graph(loss=build.node("mean", [stopped])))
        >>> flow.structural_status(kernel)
        'cut'
        >>> [edge.reason for edge in flow.cuts(kernel)]
        ['stop_gradient']
    """

    graph: Graph
    mended: frozenset[Edge] = frozenset()

    @cached_property
    def stems(self) -> bytearray:
        """For each value 1 where a weight has a part in it, whether or not a gradient goes back."""
        found = bytearray(len(self.graph.nodes))
        waiting = [index for index, _ in self.graph.leaves("weight")]
        while waiting:
            node = waiting.pop()
            if not found[node]:
                found[node] = 1
                waiting.extend(self.graph.edges[edge].consumer for edge in self.graph.used_by[node])
        return found

    def structural_status(self, node: int) -> StructuralStatus:
        """Say whether a live route leads from this node to the loss, only cut ones, or none."""
        if self.live[node]:
            return "trains"
        return "cut" if self.reaches[node] else "unused"

    @cached_property
    def live(self) -> bytearray:
        """For each node 1 where the derivative of the loss by it is structurally defined."""
        graph, nodes = self.graph, self.graph.nodes

        def follow(edge: Edge) -> bool:
            # Whoever mends the `argmax` makes floats of it, and the `one_hot` behind it passes with it: its
            # edge does not count as a cut, so nobody would ever mend it by itself.
            return edge.passes or edge in self.mended or (bool(self.mended) and self._made_from_integer(edge))

        met = self._backwards([graph.loss], follow)[0]
        for node, found in enumerate(nodes):
            met[node] &= found.differentiable  # also a loss that is an integer, and integers passed above
        return met

    @cached_property
    def reaches(self) -> bytearray:
        """For each node 1 where the loss is computed from it, whether or not a gradient comes back."""
        return self._backwards([self.graph.loss], lambda edge: True)[0]

    def cuts(self, node: int) -> tuple[Edge, ...]:
        """Return the cuts between this node and the loss, the ones nearest to the loss on each route."""
        if self.live[node] or node == self.graph.loss:
            return ()
        mask = self._cuts_ahead[node]
        return tuple(self.graph.edges[index] for index, bit in self._bit_of_cut.items() if mask & bit)

    def behind(self, node: int) -> tuple[Edge, ...]:
        """Return the cuts that would stand once those of `cuts` were mended; empty if none would.

        A line that runs at every turn of an unrolled loop is mended for all of them, as a user would do it.
        """
        cuts = self.cuts(node)
        if not cuts:
            return ()
        alike = {edge for cut in cuts for edge in self._stopping_edges[self._source_key(cut)]}
        return tuple(e for e in self._if_mended(self.mended | alike).cuts(node) if e not in alike)

    @cached_property
    def _stopping_edges(self) -> dict[tuple[object, ...], list[Edge]]:
        """The edges that no gradient passes, by what was done where."""
        found: dict[tuple[object, ...], list[Edge]] = {}
        for edge in self.graph.edges:
            if not edge.passes:
                found.setdefault(self._source_key(edge), []).append(edge)
        return found

    def _source_key(self, edge: Edge) -> tuple[object, ...]:
        """What was done at which line: equal for edges that one change of the code mends."""
        made = self.graph.nodes[edge.consumer]
        return (edge,) if made.where is None else (made, edge.reason)

    def route(self, node: int) -> tuple[int, ...]:
        """Return the shortest way from this node: to the loss, to the nearest cut, or to where it ends.

        Returns:
            Indexes of nodes. The last one is the loss, the consumer of the cut, or what nothing uses.
        """
        match self.structural_status(node):
            case "trains":
                steps = self._to_loss
            case "cut":
                steps = self._to_cut
            case "unused":
                steps = self._to_end
        cuts = self._bit_of_cut if steps is self._to_cut else {}
        found, edge = [node], steps[node]
        while edge >= 0:
            found.append(self.graph.edges[edge].consumer)
            edge = -1 if edge in cuts else steps[found[-1]]
        return tuple(found)

    # How ------------------------------------------------------------------------------------------

    def _backwards(
        self, start: Iterable[int], follow: Callable[[Edge], bool], first: Iterable[int] = ()
    ) -> tuple[bytearray, list[int]]:
        """Search backwards, breadth first: what was met, and by which edge each leads on (-1: it does not).

        Args:
            start: Nodes to begin at.
            follow: Which edges to go back through.
            first: Edges that count as followed already.
        """
        graph = self.graph
        met = bytearray(len(graph.nodes))
        onward = [-1] * len(graph.nodes)
        waiting: deque[int] = deque()
        for node in start:
            met[node] = 1
            waiting.append(node)
        for index in first:
            producer = graph.edges[index].producer
            if not met[producer]:
                met[producer] = 1
                onward[producer] = index
                waiting.append(producer)
        while waiting:
            for index in graph.made_from[waiting.popleft()]:
                edge = graph.edges[index]
                if not met[edge.producer] and follow(edge):
                    met[edge.producer] = 1
                    onward[edge.producer] = index
                    waiting.append(edge.producer)
        return met, onward

    @cached_property
    def _integers_near_live(self) -> bytearray:
        """1 for the integers from which only integers lie on some way to a live value or to the loss."""
        graph = self.graph
        last = [
            index
            for index, edge in enumerate(graph.edges)
            if self._made_from_integer(edge) and (self.live[edge.consumer] or edge.consumer == graph.loss)
        ]
        start = [] if graph.nodes[graph.loss].differentiable else [graph.loss]
        return self._backwards(start, self._made_from_integer, last)[0]

    def _made_from_integer(self, edge: Edge) -> bool:
        return not self.graph.nodes[edge.producer].differentiable

    @cached_property
    def _cuts(self) -> list[int]:
        """All cuts of the graph, whichever node they cut off."""
        graph, live, near = self.graph, self.live, self._integers_near_live
        found = []
        for index, edge in enumerate(graph.edges):
            producer = graph.nodes[edge.producer]
            ends = live[edge.consumer] or near[edge.consumer] or edge.consumer == graph.loss
            starts = not live[edge.producer] and (producer.differentiable or isinstance(producer, Leaf))
            if ends and starts:
                found.append(index)
        return found

    @cached_property
    def _bit_of_cut(self) -> dict[int, int]:
        """One bit for each cut, so that a set of cuts is a number."""
        return {index: 1 << place for place, index in enumerate(self._cuts)}

    @cached_property
    def _cuts_ahead(self) -> list[int]:
        """For each node that is not live, the cuts that it leads to."""
        graph = self.graph
        leads = [0] * len(graph.nodes)
        # Backwards from the cuts until no set grows any more, however often a loop brings a node back.
        waiting = deque(dict.fromkeys(graph.edges[index].producer for index in reversed(self._cuts)))
        for index, bit in self._bit_of_cut.items():
            leads[graph.edges[index].producer] |= bit
        queued = set(waiting)
        while waiting:
            node = waiting.popleft()
            queued.discard(node)
            if node == graph.loss:
                continue  # a route ends there
            for index in graph.made_from[node]:
                producer = graph.edges[index].producer
                together = leads[producer] | leads[node]
                if not self.live[producer] and together != leads[producer]:
                    leads[producer] = together
                    if producer not in queued:
                        queued.add(producer)
                        waiting.append(producer)
        return leads

    @cached_property
    def _to_loss(self) -> list[int]:
        return self._backwards([self.graph.loss], lambda edge: edge.passes)[1]

    @cached_property
    def _to_cut(self) -> list[int]:
        live = self.live
        return self._backwards([], lambda edge: not live[edge.producer], self._cuts)[1]

    @cached_property
    def _to_end(self) -> list[int]:
        graph, reaches = self.graph, self.reaches
        ends = [node for node in range(len(graph.nodes)) if not graph.used_by[node] and not reaches[node]]
        return self._backwards(ends, lambda edge: not reaches[edge.producer])[1]

    @cached_property
    def _flows_if_mended(self) -> dict[frozenset[Edge], Flow]:
        return {}

    def _if_mended(self, mended: frozenset[Edge]) -> Flow:
        return self._flows_if_mended.setdefault(mended, Flow(self.graph, mended))
