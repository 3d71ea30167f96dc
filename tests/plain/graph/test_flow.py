"""The gradient graph and its flow: cases made by hand, and random graphs against a search of every path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.graph.flow import Flow
from frostline.graph.ir import REASONS, Builder, Edge, Graph, Leaf, Reason, Where

# By hand ------------------------------------------------------------------------------------------


def reasons(flow: Flow, node: int) -> list[str | None]:
    return [edge.reason for edge in flow.cuts(node)]


def test_a_live_route_trains_whatever_else_is_cut() -> None:
    build = Builder()
    weight = build.leaf("weight", "w")
    stopped = build.node("stop_gradient", [(weight, "stop_gradient")])
    loss = build.node("add", [stopped, build.node("double", [weight])])
    flow = Flow(build.graph(loss))

    assert flow.structural_status(weight) == "trains"
    assert flow.cuts(weight) == ()
    assert [build[i].operation for i in flow.route(weight)[1:]] == ["double", "add"]  # type: ignore[union-attr]


def test_a_weight_that_nothing_uses() -> None:
    build = Builder()
    weight, other = build.leaf("weight", "w"), build.leaf("weight", "other")
    dropped = build.node("matmul", [weight])
    flow = Flow(build.graph(build.node("mean", [other])))

    assert flow.structural_status(weight) == "unused"
    assert flow.cuts(weight) == () == flow.behind(weight)
    assert flow.route(weight) == (weight, dropped)


def test_the_loss_itself_may_be_a_weight() -> None:
    build = Builder()
    weight = build.leaf("weight", "w")
    flow = Flow(build.graph(weight))

    assert flow.structural_status(weight) == "trains"
    assert flow.route(weight) == (weight,)


def test_of_cuts_in_series_the_last_is_named_and_the_others_stand_behind_it() -> None:
    build = Builder()
    weight = build.leaf("weight", "w")
    first = build.node("round", [(weight, "not_differentiable")])
    second = build.node("detach", [(first, "detached")])
    third = build.node("stop_gradient", [(second, "stop_gradient")])
    flow = Flow(build.graph(build.node("mean", [third])))

    assert reasons(flow, weight) == ["stop_gradient"]
    assert [edge.reason for edge in flow.behind(weight)] == ["detached"]
    assert flow.route(weight) == (weight, first, second, third)
    assert flow.behind(second) == ()


def test_a_line_that_is_mended_elsewhere_lets_no_gradient_in_there() -> None:
    """A function that stops is called twice, and its results are rounded in between."""
    build, line = Builder(), Where("loss.py", 3, "stopped")
    weight = build.leaf("weight", "w")
    before = build.node("stop_gradient", [(build.node("sin", [weight]), "stop_gradient")], where=line)
    rounded = build.node("round", [(before, "not_differentiable")], where=Where("loss.py", 5, "loss"))
    after = build.node("stop_gradient", [(rounded, "stop_gradient")], where=line)
    flow = Flow(build.graph(build.node("mean", [after])))

    assert flow.cuts(weight) == (Edge(rounded, after, "stop_gradient"),)
    assert flow.behind(weight) == (Edge(before, rounded, "not_differentiable"),)


def test_a_line_is_mended_at_every_turn_of_a_loop() -> None:
    """Through integers too: each turn counts, and comes back to numbers."""
    build, line = Builder(), Where("loss.py", 3, "turn")
    weight = build.leaf("weight", "w")
    value = weight
    for _ in range(3):
        counted = build.node("cast", [value], where=line, differentiable=False)
        doubled = build.node("multiply", [counted], differentiable=False)
        value = build.node("cast", [doubled])
    flow = Flow(build.graph(build.node("mean", [value])))

    assert reasons(flow, weight) == ["integer"]
    assert flow.behind(weight) == ()


def test_integers_are_looked_through() -> None:
    build = Builder()
    weight = build.leaf("weight", "w")
    logits = build.node("matmul", [weight])
    chosen = build.node("argmax", [logits], differentiable=False)
    shifted = build.node("add", [chosen], differentiable=False)
    flow = Flow(build.graph(build.node("mean", [build.node("one_hot", [shifted])])))

    assert flow.cuts(weight) == (Edge(logits, chosen, "integer"),)
    assert flow.route(weight) == (weight, logits, chosen)


def test_an_integer_weight_is_cut_at_its_first_use() -> None:
    build = Builder()
    weight = build.leaf("weight", "table", differentiable=False)
    used = build.node("cast", [weight])
    flow = Flow(build.graph(build.node("mean", [used])))

    assert flow.cuts(weight) == (Edge(weight, used, "integer"),)
    assert flow.behind(weight) == ()


def test_an_integer_loss_cuts_all() -> None:
    build = Builder()
    weight = build.leaf("weight", "w")
    loss = build.node("count_nonzero", [weight], differentiable=False)
    flow = Flow(build.graph(loss))

    assert flow.structural_status(weight) == "cut"
    assert flow.cuts(weight) == (Edge(weight, loss, "integer"),)


def test_two_routes_are_cut_for_two_reasons() -> None:
    build = Builder()
    weight = build.leaf("weight", "w")
    left = build.node("detach", [(weight, "detached")])
    right = build.node("item", [(weight, "left_framework")], differentiable=False)
    flow = Flow(build.graph(build.node("add", [left, build.node("constant", [(right, "left_framework")])])))

    assert sorted(map(str, reasons(flow, weight))) == ["detached", "left_framework"]


def test_a_loop_is_live_through_what_it_carries() -> None:
    build = Builder()
    start, weight, idle = (build.leaf("weight", name) for name in ("start", "weight", "idle"))
    carried = build.node("loop", [start])
    result = build.node("multiply", [carried, weight])
    build.edge(result, carried)
    build.edge(build.node("round", [(idle, "not_differentiable")]), carried)
    flow = Flow(build.graph(build.node("mean", [result])))

    assert [flow.structural_status(node) for node in (start, weight, idle)] == ["trains", "trains", "cut"]


def test_a_loop_that_leads_nowhere() -> None:
    build = Builder()
    weight = build.leaf("weight", "w")
    carried = build.node("loop", [weight])
    build.edge(build.node("tanh", [carried]), carried)
    flow = Flow(build.graph(build.leaf("constant")))

    assert flow.structural_status(weight) == "unused"
    assert flow.route(weight) == (weight,)


def test_a_state_that_is_stopped_in_a_loop_cuts_what_only_feeds_it() -> None:
    build = Builder()
    start, kernel = build.leaf("weight", "start"), build.leaf("weight", "kernel")
    carried = build.node("loop", [start])
    stopped = build.node("stop_gradient", [(carried, "stop_gradient")])
    result = build.node("add", [stopped, kernel])
    build.edge(result, carried)
    flow = Flow(build.graph(build.node("mean", [result])))

    assert flow.structural_status(kernel) == "trains"
    assert flow.cuts(start) == (Edge(carried, stopped, "stop_gradient"),)


def test_an_edge_with_an_integer_end_never_passes() -> None:
    build = Builder()
    weight, ids = build.leaf("weight", "w"), build.leaf("input", "ids", differentiable=False)
    taken = build.node("take", [weight, ids])
    rounded = build.node("argmax", [(taken, "not_differentiable")], differentiable=False)
    left = build.node("item", [(rounded, "left_framework")], differentiable=False)
    graph = build.graph(left)

    assert [edge.reason for edge in graph.edges] == [None, "integer", "integer", "left_framework"]
    assert [edge.passes for edge in graph.edges] == [True, False, False, False]


def test_a_long_chain_takes_linear_time() -> None:
    build = Builder()
    weights = [build.leaf("weight", str(n)) for n in range(1000)]
    value = build.leaf("input", "x")
    for weight in weights:
        for _ in range(20):
            value = build.node("step", [value, weight])
    cut = build.node("stop_gradient", [(value, "stop_gradient")])
    flow = Flow(build.graph(build.node("mean", [cut])))

    assert all(len(flow.cuts(weight)) == 1 and not flow.behind(weight) for weight in weights)
    assert len(flow.route(weights[0])) == 20 * 999 + 3


def test_the_source_of_a_place(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("a = 1\n    b = round(a)\n", encoding="utf-8")
    where = Where(str(file), 2, "loss")

    assert where.source == "b = round(a)"
    assert str(where) == f"{file}:2"
    assert Where(str(tmp_path / "missing.py"), 2, "loss").source == ""


# Random graphs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Paths:
    """The definitions of `flow`, read literally: every path is walked."""

    graph: Graph

    def simple(self, node: int, seen: frozenset[int] = frozenset()) -> Iterator[tuple[Edge, ...]]:
        """Every path from a node, of any length, that meets no node twice."""
        yield ()
        for index in self.graph.used_by[node]:
            edge = self.graph.edges[index]
            if edge.consumer not in seen | {node}:
                for rest in self.simple(edge.consumer, seen | {node}):
                    yield (edge, *rest)

    def ends(self, node: int, path: tuple[Edge, ...]) -> int:
        return path[-1].consumer if path else node

    def live(self, node: int, also: frozenset[int] = frozenset()) -> bool:
        return any(
            all(edge.passes for edge in path) and self.ends(node, path) in also | {self.graph.loss}
            for path in self.simple(node)
            if self.graph.nodes[node].differentiable
        )

    def reaches(self, node: int) -> bool:
        return any(self.ends(node, path) == self.graph.loss for path in self.simple(node))

    def is_end(self, node: int) -> bool:
        """Whether a gradient comes as far as this: it is live, the loss, or an integer just before one."""
        if self.live(node) or node == self.graph.loss:
            return True
        nodes = self.graph.nodes
        return any(
            all(not nodes[n].differentiable for n in (node, *(edge.producer for edge in path)))
            and (
                self.live(self.ends(node, path))
                or (self.ends(node, path) == self.graph.loss and not nodes[self.graph.loss].differentiable)
            )
            for path in self.simple(node)
        )

    def cuts(self, node: int) -> set[Edge]:
        """The cuts on any way from a node, loops included, that meets no live value and no loss before."""
        closed = {n for n in range(len(self.graph.nodes)) if n == self.graph.loss or self.live(n)}
        reached = {node} - closed
        for _ in self.graph.nodes:
            reached |= {e.consumer for e in self.graph.edges if e.producer in reached} - closed
        found = set()
        for edge in self.graph.edges:
            producer = self.graph.nodes[edge.producer]
            starts = producer.differentiable or isinstance(producer, Leaf)
            if edge.producer in reached and starts and self.is_end(edge.consumer):
                found.add(edge)
        return found


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    build = Builder()
    for number in range(draw(st.integers(1, 3))):
        build.leaf("weight", str(number), differentiable=draw(st.integers(0, 5)) > 0)
    ways: st.SearchStrategy[Reason | None] = st.sampled_from((None, None, *REASONS[:2]))
    for _ in range(draw(st.integers(1, 5))):
        inputs = draw(st.lists(st.tuples(st.integers(0, len(build) - 1), ways), max_size=3))
        build.node("operation", inputs, differentiable=draw(st.integers(0, 3)) > 0)
    operations = st.integers(len(list(build.graph(0).leaves("weight"))), len(build) - 1)
    for producer, consumer, way in draw(st.lists(st.tuples(operations, operations, ways), max_size=2)):
        build.edge(producer, consumer, way)
    return build.graph(draw(st.integers(0, len(build) - 1)))


@settings(max_examples=400, deadline=None)
@given(graphs())
def test_the_flow_is_what_its_definitions_say(graph: Graph) -> None:
    flow, paths = Flow(graph), Paths(graph)
    for node in range(len(graph.nodes)):
        assert bool(flow.live[node]) == paths.live(node)
        assert bool(flow.reaches[node]) == paths.reaches(node)
        standing = "trains" if paths.live(node) else "cut" if paths.reaches(node) else "unused"
        assert flow.structural_status(node) == standing
        if isinstance(graph.nodes[node], Leaf):
            assert set(flow.cuts(node)) == (paths.cuts(node) if standing == "cut" else set())
            assert bool(flow.cuts(node)) == (standing == "cut" and node != graph.loss)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_routes_are_shortest(graph: Graph) -> None:
    flow, paths = Flow(graph), Paths(graph)
    cuts = set(flow.cuts(0))
    route = flow.route(0)
    match flow.structural_status(0):
        case "trains":
            fitting = [
                p for p in paths.simple(0) if all(e.passes for e in p) and paths.ends(0, p) == graph.loss
            ]
        case "cut":
            fitting = [p for p in paths.simple(0) if p and p[-1] in cuts]
        case "unused":
            fitting = [p for p in paths.simple(0) if not graph.used_by[paths.ends(0, p)]] or [()]
    fitting = fitting or [()]  # an integer that is itself the loss
    assert route in {(0, *(edge.consumer for edge in path)) for path in fitting}
    assert len(route) == 1 + min(len(path) for path in fitting)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_what_stands_behind_the_cuts(graph: Graph) -> None:
    flow, paths = Flow(graph), Paths(graph)
    cuts = flow.cuts(0)
    mended = frozenset(e.producer for e in cuts if graph.nodes[e.producer].differentiable)
    behind = flow.behind(0)
    assert not set(behind) & set(cuts)
    if cuts and graph.nodes[0].differentiable:
        assert bool(behind) == (not paths.live(0, mended))


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_words(reason: Reason) -> None:
    from frostline.diagnostics.remedies import fact, remedy

    assert "argmax" in fact(reason, "argmax") or reason == "no_grad"
    assert remedy(reason, "some_operation")
    assert "{" not in fact(reason, "round") + remedy(reason, "round")
