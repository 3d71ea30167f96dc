"""Why a weight does or does not receive a gradient: the records of the answer, and how they print."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import ConsoleRenderable

from frostline.diagnostics.remedies import fact
from frostline.errors import listed, near
from frostline.graph.ir import Reason, Where
from frostline.graph.not_finite import NotFinite
from frostline.render.tables import STYLES, Rendered, count, headed, plain, stacked, table

Status = Literal[
    "trains",
    "partial",
    "frozen",
    "assigned",
    "cut",
    "unused",
    "zero",
    "not_finite",
    "leaks",
    "stale",
    "untracked",
]
"""What becomes of a weight, exactly one of:

- `trains`: planned to train, a live route to the loss, in the optimizer.
- `partial`: as above for some of its elements.
- `frozen`: planned frozen, and nothing will change it.
- `assigned`: the plan says that code writes to it, and the optimizer does not have it.
- `cut`: planned to train, reaches the loss, but every route is cut.
- `unused`: planned to train, and never reaches the loss.
- `zero`: a live route, but the gradient is exactly zero on this batch.
- `not_finite`: a live route, but the gradient on this batch has NaN or infinity in it.
- `leaks`: planned frozen, yet something will change it.
- `stale`: the flags say one thing, the compiled training function another.
- `untracked`: the computation reads it, and the model does not own it, so nothing trains or saves it.
"""

AS_PLANNED: frozenset[Status] = frozenset(("trains", "partial", "frozen", "assigned"))
"""The statuses of weights that do what is planned for them."""

_SENTENCES: dict[Status, str] = {
    "trains": "a gradient reaches it",
    "partial": "a gradient reaches the part of it that trains",
    "frozen": "it is held fixed",
    "assigned": "the plan leaves it to code that assigns to it",
    "cut": "the loss depends on it, but no gradient reaches it",
    "unused": "the loss does not depend on it",
    "zero": "a gradient can reach it, but is exactly zero on these data",
    "not_finite": "its gradient on these data is not finite",
    "leaks": "it is planned frozen, and something will change it",
    "stale": "its flag says one thing, the compiled training function another",
    "untracked": "the computation reads it, and the model does not own it",
}

_LONGEST_ROUTE = 12


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where the gradient stops.

    Attributes:
        reason: Why, one of the reasons of `frostline.graph.ir.Reason`.
        operation: The operation at which it stops.
        layer: Address of the layer that it runs in, None outside of any.
        where: The user's line, None where no line of the user's leads to it.
    """

    reason: Reason
    operation: str
    layer: str | None
    where: Where | None

    @property
    def place(self) -> str:
        """The line and the layer, as text; `""` where neither is known."""
        return _place(self.layer, self.where)


@dataclass(frozen=True, slots=True)
class Step:
    """One station on the way from a weight to the loss: a layer, or an operation outside of layers.

    Attributes:
        name: Address of the layer, or name of the operation.
        layer: Address of the layer, None for an operation outside of layers.
        where: The user's line, where known.
    """

    name: str
    layer: str | None
    where: Where | None


@dataclass(frozen=True)
class Explanation(Rendered):
    """What becomes of one weight, and why.

    Attributes:
        address: Its address, or what the user calls it.
        status: The answer in one word.
        cuts: Where the gradient stops, the cut nearest to the loss on each route; empty unless `cut`.
        behind: Cuts that would stand once those were mended.
        route: The shortest way from the weight to the loss, to the nearest cut, or to where it ends.
        gradient_norm: Euclidean norm of its gradient on these data; None where there is none.
        remedy: What to do about it, `""` where nothing need be done.
        note: What else is to be known of it.
        where: Of a gradient that is zero or not finite the user's line that makes it so, where known.
        added: Whether what the model's own code adds by `add_loss` trains it all the same.
    """

    address: str
    status: Status
    cuts: tuple[Cut, ...] = ()
    behind: tuple[Cut, ...] = ()
    route: tuple[Step, ...] = ()
    gradient_norm: float | None = None
    remedy: str = ""
    note: str = ""
    where: Where | None = None
    added: bool = False

    @property
    def ok(self) -> bool:
        """Whether it does what is planned for it."""
        return self.added or self.status in AS_PLANNED

    def __rich__(self) -> ConsoleRenderable:
        status = (self.status, STYLES.get(self.status, ""))
        sentence = (f" ({_SENTENCES[self.status]}{self._norm()})", "")
        return stacked(headed(self.address, (": ", ""), status, sentence), *self.details())

    def details(self) -> Iterator[ConsoleRenderable]:
        """Yield what stands below the first line: cuts with their lines of source, route, remedy."""
        for cut in self.cuts:
            yield plain(f"{_sentence(cut)}{':' if cut.where and cut.where.source else ''}", indent=2)
            if cut.where and cut.where.source:
                yield plain(cut.where.source, indent=6)
        if self.behind:
            them = listed(
                (f"{c.operation} ({c.place})" if c.place else c.operation for c in self.behind), most=3
            )
            yield plain(f"with that fixed, the gradient stops at {them}", indent=2)
        if len(self.route) > 1:
            yield plain(f"route: {' > '.join(_shortened([step.name for step in self.route]))}", indent=2)
        for label, text in (("note", self.note), ("fix", self.remedy)):
            if text:
                yield plain(f"{label}: {text}", indent=2)

    def to_data(self) -> dict[str, Any]:
        """Return the explanation as plain data, for JSON."""
        return asdict(self)

    def _norm(self) -> str:
        shows = bool(self.gradient_norm) and self.status in ("trains", "partial")
        return f", of norm {self.gradient_norm:.3g}" if shows else ""


@dataclass(frozen=True)
class Explanations(Mapping[str, Explanation], Rendered):
    """Explanations by name. Prints as a table, with the reasons below it.

    Attributes:
        by_name: The explanations.
        loss: The loss on these data; not a number where it could not be computed.
        notes: What is to be known of the loss as a whole.
    """

    by_name: Mapping[str, Explanation]
    loss: float = float("nan")
    notes: tuple[str, ...] = field(default=())

    def __getitem__(self, name: str) -> Explanation:
        if name not in self.by_name:
            close = near(name, self.by_name)
            hint = f"; did you mean {listed(close)}?" if close else ""
            raise KeyError(f"no variable is named {name!r}{hint}")
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    @property
    def ok(self) -> bool:
        """Whether every one of them does what is planned for it."""
        return all(one.ok for one in self.values())

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (one.address, one.status, _number(one.gradient_norm), _stops_at(one)) for one in self.values()
        ]
        drawn = table(
            ("variable", "status", "gradient norm", "stops at"),
            rows,
            numbers=("gradient norm",),
            title=f"Gradients of the loss ({self.loss:.6g}) with respect to {count(len(self), 'variable')}",
        )
        return stacked(drawn, *reasons(self.values()), *(f"note: {note}" for note in self.notes))


@dataclass(frozen=True)
class Causes(Explanations):
    """Explanations of the weights of a model. Prints those with one cause together, most weights first.

    Attributes:
        model: Name of the model.
    """

    model: str = ""

    @property
    def groups(self) -> tuple[tuple[Explanation, ...], ...]:
        """The explanations by cause: first of weights that do not do what is planned, most weights first."""
        found = by_cause(self.values())
        return tuple(sorted(found, key=lambda group: (group[0].ok, -len(group))))

    def to_data(self) -> dict[str, Any]:
        """Return the explanations as plain data, for JSON."""
        return {
            "model": self.model,
            "ok": self.ok,
            "loss": self.loss if math.isfinite(self.loss) else None,
            "groups": [
                {
                    "status": group[0].status,
                    "weights": [one.address for one in group],
                    "explanations": [one.to_data() for one in group],
                }
                for group in self.groups
            ],
            "notes": list(self.notes),
        }

    def __rich__(self) -> ConsoleRenderable:
        wrong = sum(not one.ok for one in self.values())
        loss = "" if math.isnan(self.loss) else f", loss {self.loss:.6g} on this batch"
        head = headed(f"{count(len(self), 'weight')} of {self.model}{loss}")
        told = f"not ok: {count(wrong, 'weight')} of {len(self)} cannot do what is planned"
        verdict = told if wrong else f"ok: {count(len(self), 'weight')} as planned"
        notes = (f"note: {note}" for note in self.notes)
        return stacked(head, *self._told(), *notes, "", verdict)

    def _told(self) -> Iterator[ConsoleRenderable | str]:
        for group in self.groups:
            yield from _of_group(group, f"{count(len(group), 'weight')}, {_names(group)}")


def by_cause(explanations: Iterable[Explanation]) -> list[tuple[Explanation, ...]]:
    """Return explanations that say the same together, whatever the sizes of their gradients."""
    groups: dict[Any, list[Explanation]] = {}
    for one in explanations:
        remedy = one.remedy.replace(repr(one.address), "it")
        groups.setdefault((one.status, one.cuts, one.behind, remedy, one.note), []).append(one)
    return [tuple(group) for group in groups.values()]


def _names(group: Iterable[Explanation]) -> str:
    return listed((one.address for one in group), most=4)


def _of_group(
    group: tuple[Explanation, ...], names: str, found: str = ""
) -> Iterator[ConsoleRenderable | str]:
    status = group[0].status
    yield ""
    yield headed(names, (f": {status}", STYLES.get(status, "")), (found, ""))
    if status not in AS_PLANNED or status == "frozen":
        yield from group[0].details()
    elif group[0].note:
        yield plain(f"note: {group[0].note}", indent=2)


def reasons(
    explanations: Iterable[Explanation], codes: Iterable[tuple[str, str]] = ()
) -> Iterator[ConsoleRenderable | str]:
    """Yield what stops the gradients of weights that should train, those with the same reasons together.

    Behind them stands what is to be known of others.

    Args:
        explanations: The explanations.
        codes: The address, and code and severity, of each finding that says no more than this.
    """
    every = list(codes)
    found = [
        one for one in explanations if one.status not in AS_PLANNED or (one.note and one.status != "frozen")
    ]
    for group in by_cause(sorted(found, key=lambda one: one.ok)):
        addresses = {one.address for one in group}
        told = Counter(code for address, code in every if address in addresses)
        named = listed(code if times == 1 else f"{times} times {code}" for code, times in told.items())
        yield from _of_group(group, _names(group), f" ({named})" if told else "")


def placed(found: NotFinite) -> str:
    """Say where numbers stop being finite, and at which line."""
    return said_at(found.fact, found.layer, found.where)


def said_at(fact: str, layer: str | None, where: Where | None) -> str:
    """Say a fact with its place, and with the line of source."""
    place = _place(layer, where)
    line = f": {where.source}" if where and where.source else ""
    return f"{fact}{f' ({place})' if place else ''}{line}"


def _place(layer: str | None, where: Where | None) -> str:
    parts = [shown(where)] if where else []
    if layer:
        parts.append(f"in layer {layer!r}")
    return ", ".join(parts)


def shown(where: Where) -> str:
    """Say a place, with a path that is short where the file lies below the current folder."""
    path = Path(where.file)
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return f"{path.relative_to(Path.cwd()) if inside else path}:{where.line}"


def _sentence(cut: Cut) -> str:
    place = f" ({cut.place})" if cut.place else ""
    return f"{fact(cut.reason, cut.operation)}{place}"


def _shortened(names: list[str]) -> list[str]:
    if len(names) <= _LONGEST_ROUTE:
        return names
    half = _LONGEST_ROUTE // 2
    return [*names[:half], f"... {len(names) - 2 * half} more ...", *names[-half:]]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _stops_at(one: Explanation) -> str:
    return listed((f"{c.operation} ({c.place})" if c.place else c.operation for c in one.cuts), most=2)
