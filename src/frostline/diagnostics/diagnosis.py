"""From what a reader saw and measured to an explanation for each weight."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby

from frostline.diagnostics import remedies
from frostline.diagnostics.explanation import Cut, Explanation, Status, Step, placed, shown
from frostline.errors import listed
from frostline.graph.flow import Flow
from frostline.graph.ir import Edge, Leaf, Node
from frostline.graph.not_finite import NotFinite
from frostline.graph.reader import Measured, Trace, is_finite, norm

_CARRIED = "its gradient is zero at the start only: it gets one as soon as a batch has left its state behind"
_STARTING = (
    "its gradient is zero at the start only: it gets one as soon as a factor beside it, which is zero in "
    "every element and gets one, has made a step"
)

_BALANCED = (
    "its gradient cancels over the samples of this batch, and not over a part of them: another batch moves it"
)

_IDLE = (
    "its gradient is what rounding leaves of zero, here nothing: the loss stays the same, but for that, with "
    "other numbers in it"
)

_NEVER_READ = "whatever numbers it holds, the loss stays the same: what is made of it is left out of the loss"

_WHOLE_NUMBERS = "it holds integers or booleans, which no gradient reaches"

_NOT_TAKEN = "no gradient came back on these data: a branch that it lies in was not taken"


class Diagnosis:
    """Explains the weights of one trace.

    Args:
        trace: What a reader saw.
        measured: The gradients on these data, None where only the structure is asked about.
        frozen: Names of the weights that are not meant to train.
        starting: Names of those whose gradient is zero at the start only.
        carried: Names of those among them that the state a batch leaves behind gives one.
        not_finite: Where numbers stop being finite, where they do.
        balanced: Names of those whose gradient is zero over this batch, and not over a part of it.
        idle: Names of those whose gradient is what rounding leaves of zero, here nothing.
        unread: Names of those that the loss leaves out, though what is made of them enters its computation.
        of_model: Whether it is the loss of a model, and not a function that the user wrote.

    Raises:
        KeyError: A name in a call is not that of a weight of the trace.
    """

    def __init__(
        self,
        trace: Trace,
        measured: Measured | None = None,
        frozen: Collection[str] = (),
        starting: Collection[str] = (),
        not_finite: NotFinite | None = None,
        *,
        balanced: Collection[str] = (),
        idle: Collection[str] = (),
        unread: Collection[str] = (),
        carried: Collection[str] = (),
        of_model: bool = False,
    ) -> None:
        self.trace = trace
        self.flow = Flow(trace.graph)
        self._measured = measured
        self._frozen = frozenset(frozen)
        self._starting = frozenset(starting)
        self._not_finite = not_finite
        self._balanced = frozenset(balanced)
        self._idle = frozenset(idle)
        self._unread = frozenset(unread)
        self._carried = frozenset(carried)
        self._of_model = of_model

    @property
    def loss_is_constant(self) -> bool:
        """Whether the loss is computed from no weight, no input and no variable at all."""
        graph = self.trace.graph
        return not any(
            self.flow.reaches[i] for i, leaf in graph.leaves("weight", "state", "foreign", "input")
        )

    def status(self, name: str) -> Status:
        """Say what becomes of a weight, by structure and, where it was measured, by its gradient."""
        if name in self._frozen:
            return "frozen"
        standing = self.flow.structural_status(self.trace.graph.weights[name])
        if self._measured is None or self._measured.error:
            return standing
        gradient = self._measured.gradients.get(name)
        if not is_finite(gradient):
            return "not_finite"
        if gradient is not None and gradient.any():
            # What was measured is a fact, whatever the structure made one expect.
            return "trains"
        if standing == "unused" and self._may_be_used_elsewhere(name):
            return "zero"
        if standing != "trains":
            return standing
        if name in self._unread:
            return "unused"
        # None where the structure shows a way is no cut: these values did not take that way.
        passing = self._starting | self._balanced | self._idle
        return "trains" if name in passing and gradient is not None else "zero"

    def explain(self, name: str) -> Explanation:
        """Explain one weight."""
        index = self.trace.graph.weights[name]
        status = self.status(name)
        if status in ("cut", "zero") and not self.trace.graph.nodes[index].differentiable:
            route = self._route(self.flow.route(index))
            return Explanation(name, status, route=route, remedy=remedies.WHOLE_NUMBERS, note=_WHOLE_NUMBERS)
        cuts = tuple(dict.fromkeys(map(self._cut, self.flow.cuts(index)))) if status == "cut" else ()
        behind = tuple(dict.fromkeys(map(self._cut, self.flow.behind(index)))) if status == "cut" else ()
        gradient = self._measured.gradients.get(name) if self._measured else None
        size = norm(gradient)
        return Explanation(
            address=name,
            status=status,
            cuts=cuts,
            behind=tuple(cut for cut in behind if cut not in cuts),
            route=self._route(self.flow.route(index)),
            gradient_norm=size,
            remedy=remedies.NOT_TAKEN
            if status == "zero" and self._not_taken(name)
            else self._remedy(index, status, cuts),
            note=self._note(name, status, size),
            where=self._not_finite.where if status == "not_finite" and self._not_finite else None,
        )

    def _note(self, name: str, status: Status, size: float | None) -> str:
        if status == "not_finite":
            return placed(self._not_finite) if self._not_finite else ""
        if status == "zero" and self._not_taken(name):
            return f"{_NOT_TAKEN}{self._chosen_at()}"
        if status == "unused" and name in self._unread:
            return _NEVER_READ
        if status == "trains" and name in self._balanced | self._idle:
            return _BALANCED if name in self._balanced else _IDLE
        starts = status == "trains" and name in self._starting and not size
        return (_CARRIED if name in self._carried else _STARTING) if starts else ""

    def _chosen_at(self) -> str:
        places = dict.fromkeys(shown(where) for where in self.trace.branches if where)
        return f" (values choose at {listed(places, most=3)})" if places else ""

    def _may_be_used_elsewhere(self, name: str) -> bool:
        """Whether nothing read a weight where Python chose a branch by values: others may read it."""
        return bool(self.trace.branches) and not self.trace.graph.used_by[self.trace.graph.weights[name]]

    def _not_taken(self, name: str) -> bool:
        """Whether the framework gave no gradient at all where the structure shows a way for one."""
        return self._measured is not None and self._measured.gradients.get(name) is None

    def _cut(self, edge: Edge) -> Cut:
        node = self.trace.graph.nodes[edge.consumer]
        operation = node.operation if isinstance(node, Node) else "read"
        assert edge.reason is not None, "a gradient passes no cut"
        return Cut(edge.reason, operation, node.layer, node.where)

    def _route(self, route: tuple[int, ...]) -> tuple[Step, ...]:
        """The stations of a route; what no line of the user's does at its end is the loss as such."""
        steps = list(self._steps(route))
        if route[-1] == self.flow.graph.loss and len(steps) > 1:
            known = len(steps)
            while known > 1 and not (steps[known - 1].layer or steps[known - 1].where):
                known -= 1
            if known < len(steps):
                steps[known:] = [Step("loss", None, None)]
        return tuple(steps)

    def _steps(self, route: tuple[int, ...]) -> Iterator[Step]:
        nodes = [self.trace.graph.nodes[index] for index in route]
        last = nodes[-1]
        for layer, members in groupby(nodes, key=lambda node: node.layer if isinstance(node, Node) else None):
            for node in members:
                if isinstance(node, Leaf):
                    yield Step(node.name or node.kind, None, node.where)
                elif not layer:
                    yield Step(node.operation, None, node.where)
                else:
                    yield Step(layer, layer, node.where)
                    break
        if isinstance(last, Node) and last.layer and self.flow.graph.loss != route[-1]:
            yield Step(last.operation, last.layer, last.where)

    def _remedy(self, index: int, status: Status, cuts: tuple[Cut, ...]) -> str:
        match status:
            case "cut":
                texts = dict.fromkeys(remedies.remedy(cut.reason, cut.operation) for cut in cuts)
                return "; ".join(texts)
            case "unused" if self.loss_is_constant and not self._of_model:
                return remedies.CONSTANT_LOSS
            case "unused":
                read = self.trace.graph.used_by[index]
                return remedies.NOT_IN_LOSS if read else remedies.NEVER_READ
            case "not_finite":
                return remedies.of_not_finite(self._not_finite) if self._not_finite else ""
            case "zero":
                return remedies.ZERO
            case "frozen":
                return remedies.FROZEN
        return ""
