"""What became of variables, held against a plan: the words for it, and the record that prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from rich.console import ConsoleRenderable

from frostline.errors import VerificationError, listed
from frostline.model.inventory import Role
from frostline.render.tables import Rendered, count, stacked, table

Outcome = Literal[
    "intact",
    "changed",
    "trained",
    "partial",
    "decay alone",
    "unmoved",
    "assigned",
    "moved",
    "held",
    "state",
    "missing",
    "not finite",
    "unrecorded",
]

_MEANING: dict[Outcome, str] = {
    "intact": "frozen, every bit as before",
    "changed": "moved unplanned: frozen, yet its bits changed",
    "trained": "planned to train, and moved",
    "partial": "planned to train in part; that moved, the rest has every bit as before",
    "decay alone": "planned to train; no gradient of the loss reached it, decay or a penalty alone moved it",
    "unmoved": "planned to move, and did not",
    "assigned": "left to code that assigns, and moved",
    "moved": "statistic of a layer in training mode, and moved",
    "held": "statistic, every bit as before",
    "state": "seed, metric or layer state, never trained",
    "missing": "in one of the two models only",
    "not finite": "allowed to move, and holds NaN or infinity where it held numbers",
    "unrecorded": "no Keras variable, and not in a fingerprint by Frostline 0.1: not compared",
}


MOVED = "its values are others"
"""What `VariableFinding.why` says of what a layer remembers that is not as it was."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What training saw of the gradients, which values before and after cannot tell.

    Attributes:
        no_gradient: Addresses of weights planned to train that no gradient of the loss reached.
        why_unmoved: Why a weight that was planned to train did not move, in words, by its address.
        untold: Addresses of weights of which it is not known whether a gradient of the loss reached them.
    """

    no_gradient: tuple[str, ...] = ()
    why_unmoved: Mapping[str, str] = field(default_factory=dict, hash=False)
    untold: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {
            "no_gradient": list(self.no_gradient),
            "why_unmoved": dict(self.why_unmoved),
            "untold": list(self.untold),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Evidence:
        """Make it from plain data, the reverse of `to_data`; of what older files do not have, nothing."""
        why = {str(address): str(words) for address, words in data.get("why_unmoved", {}).items()}
        return cls(tuple(data.get("no_gradient", ())), why, tuple(data.get("untold", ())))


@dataclass(frozen=True, slots=True)
class VariableFinding:
    """What became of one variable.

    Attributes:
        address: Its address.
        role: What it is.
        outcome: `intact`, `changed`, `trained`, `partial`, `decay alone`, `unmoved`, `assigned`, `moved`,
            `held`, `state`, `missing`, `not finite` or `unrecorded`.
        violation: Whether this breaks the plan.
        part: What of it was to train, in words, where that was not the whole.
        why: Why it did not move, in words, where it was to and that is known; of state, whether it moved.
    """

    address: str
    role: Role
    outcome: Outcome
    violation: bool
    part: str = ""
    why: str = ""


@dataclass(frozen=True)
class Verification(Rendered):
    """What happened to every variable, held against a plan.

    Attributes:
        findings: One for each variable, in the model's order.
        evidence: What training saw of the gradients.
        by_order: What was compared under another address, by that before training: layers that Keras numbered
            otherwise than in the other copy, told by their order.
    """

    findings: tuple[VariableFinding, ...]
    evidence: Evidence = field(default_factory=Evidence)
    by_order: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def no_gradient(self) -> tuple[str, ...]:
        """Addresses of weights planned to train that got no gradient, where this is known."""
        return self.evidence.no_gradient

    @property
    def nothing_trained(self) -> bool:
        """Whether something was to train, and none of it moved by a gradient."""
        return bool(self.of("unmoved", "decay alone")) and not self.of("trained", "partial")

    @property
    def ok(self) -> bool:
        """Whether no frozen number changed, nothing is missing, and nothing became NaN or infinite."""
        return not any(f.violation for f in self.findings)

    def of(self, *outcomes: Outcome) -> tuple[str, ...]:
        """Return the addresses with one of these outcomes."""
        return tuple(f.address for f in self.findings if f.outcome in outcomes)

    def _named(self, outcome: Outcome) -> list[str]:
        found = [f for f in self.findings if f.outcome == outcome]
        parts = outcome in ("partial", "decay alone")
        return [f"{f.address} [{f.part}]" if f.part and parts else f.address for f in found]

    def require_ok(self, *, finite: bool = True) -> None:
        """Raise `VerificationError` that names what breaks the plan, if anything does.

        Args:
            finite: Whether numbers that became NaN or infinite count.
        """
        if broken := [f for f in self.findings if f.violation and f.outcome != "not finite"]:
            changed = [f.address for f in broken if f.outcome == "changed"]
            meant = f"; where that is meant, say so in the plan: {_rules_for(changed)}" if changed else ""
            raise VerificationError(
                f"{count(len(broken), 'frozen variable')} changed or went missing",
                received=listed(f"{f.address} ({f.outcome})" for f in broken),
                expected="bits identical to those before training",
                remedy="see what assigns to them: a callback, an assign in `call`, an optimizer of your own"
                + meant,
            )
        if finite and (spoilt := self.of("not finite")):
            raise VerificationError(
                f"training left NaN or infinity in {count(len(spoilt), 'variable')}",
                received=listed(spoilt),
                expected="finite numbers where there were finite numbers before",
                remedy="see which step makes them: frostline.audit(model, x, y); "
                "lower the learning rate, or set clipnorm=1.0",
            )

    @property
    def verdict(self) -> str:
        """What was found of all numbers together, in a few words."""
        if self.ok:
            recorded = " that was recorded" if self.of("unrecorded") else ""
            return f"every frozen number{recorded} is bit-identical"
        frozen = any(f.violation and f.outcome != "not finite" for f in self.findings)
        wrong = ["frozen numbers changed"] if frozen else []
        return " and ".join([*wrong, *(["numbers became NaN or infinite"] if self.of("not finite") else [])])

    def to_data(self) -> dict[str, Any]:
        """Return the verification as plain data, for JSON."""
        return {
            "ok": self.ok,
            "counts": {outcome: len(self.of(outcome)) for outcome in _MEANING if self.of(outcome)},
            "violations": [
                {"address": f.address, "outcome": f.outcome} for f in self.findings if f.violation
            ],
            "partial": {f.address: f.part for f in self.findings if f.outcome == "partial"},
            "unmoved": list(self.of("unmoved")),
            **self.evidence.to_data(),
            **({"by_order": dict(self.by_order)} if self.by_order else {}),
        }

    def __rich__(self) -> ConsoleRenderable:
        return self.renderable("verified" if self.ok else "NOT verified")

    @property
    def remarks(self) -> list[str]:
        """What else is to be said of what was to train, one line each."""
        why = {f.address: f.why for f in self.findings if f.outcome == "unmoved"}
        lines = [f"did not move: {text}" for text in by_reason(why)]
        if moving := [f.address for f in self.findings if f.why == MOVED]:
            lines.append(f"moved, and no plan holds it, since it is a layer's own memory: {listed(moving)}")
        if alone := self._named("decay alone"):
            lines.append(f"moved without a gradient of the loss: {listed(alone)}")
        if untold := [a for a in self.evidence.untold if a not in self.of("unmoved")]:
            lines.append(f"not known: whether a gradient of the loss moved {listed(untold)}")
        return lines

    def renderable(self, verdict: str) -> ConsoleRenderable:
        """Return the outcomes as a table, and below it the verdict in words.

        Args:
            verdict: What goes in front of it: who says so.
        """
        rows = [
            (str(len(self.of(outcome))), outcome, meaning, listed(self._named(outcome), most=2))
            for outcome, meaning in _MEANING.items()
            if self.of(outcome)
        ]
        parts: list[ConsoleRenderable | str] = [
            table(("count", "outcome", "meaning", "variables"), rows, numbers=("count",)),
            "",
            f"{verdict}: {self.verdict}",
        ]
        parts += self.remarks
        if self.by_order:
            parts.append(by_order_text(self.by_order))
        return stacked(*parts)


def _rules_for(addresses: list[str]) -> str:
    """Return the rules of a plan that leave these to code: one for the layer around all of them, if any."""
    parts = [address.split("/")[:-1] for address in addresses]
    shared = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*parts, strict=False))]
    if len(addresses) == 1 or not shared:
        return "".join(f".assigned({address!r})" for address in addresses[:3]) + (
            f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
        )
    return f".assigned({'/'.join((*shared, '**'))!r})"


def by_reason(why: Mapping[str, str]) -> list[str]:
    """Say of weights, by address, why each is as it is; those with the same reason together."""
    groups: dict[str, list[str]] = {}
    for address, reason in why.items():
        groups.setdefault(reason, []).append(address)
    return [f"{listed(who)}{f': {reason}' if reason else ''}" for reason, who in groups.items()]


def by_order_text(by_order: Mapping[str, str]) -> str:
    """Say what was told by its order."""
    pairs = listed((f"{one} as {other}" for one, other in by_order.items()), most=2)
    return f"told by order, since Keras numbered the layers: {pairs}"
