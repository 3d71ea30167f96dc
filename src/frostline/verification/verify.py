"""Fingerprints before and after, and what they prove: frozen numbers identical, trained ones moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import ConsoleRenderable

from frostline.errors import FrostlineError, VerificationError, listed, near
from frostline.model.inventory import Role, inventory
from frostline.plan.plan import Plan
from frostline.render import Rendered, count, stacked, table
from frostline.resolution.parts import Parts
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.verification.fingerprint import Digest, Fingerprint, fingerprint, fingerprint_of, known

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

_OUTCOMES: dict[tuple[bool, bool, bool], Outcome] = {
    (True, True, True): "unmoved",
    (True, True, False): "trained",
    (True, False, True): "intact",
    (True, False, False): "changed",
    (False, True, True): "held",
    (False, True, False): "moved",
    (False, False, True): "held",
    (False, False, False): "changed",
}
"""By whether a variable is a weight and not a statistic, may change, and has the same values as before."""

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
        why: Why it did not move, in words, where it was to and that is known.
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
            raise VerificationError(
                f"{count(len(broken), 'frozen variable')} changed or went missing",
                received=listed(f"{f.address} ({f.outcome})" for f in broken),
                expected="bits identical to those before training",
                remedy="see what assigns to them: a callback, an assign in `call`, an optimizer of your own; "
                f"where that is meant, say so in the plan: .assigned({broken[0].address!r})",
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
        if alone := self._named("decay alone"):
            lines.append(f"moved without a gradient of the loss: {listed(alone)}")
        if untold := [a for a in self.evidence.untold if a not in self.of("unmoved")]:
            lines.append(f"not known: whether more than decay or a penalty moved {listed(untold)}")
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


def verify(
    model: Any,
    before: Fingerprint,
    plan: Plan | Resolution | Collection[str],
    *,
    strict: bool = False,
) -> Verification:
    """Hold a model against its fingerprint before training, and against the plan.

    Args:
        model: The model after training; or variables by name, as `fingerprint` takes them.
        before: Its fingerprint before.
        plan: The plan it was trained under, or its resolution; of variables by name, the names of those that
            were to train.
        strict: Whether a weight is the same only under the same address. Otherwise layers whose names Keras
            numbered may have other numbers now, as in another process; `by_order` says which.

    Returns:
        A `Verification`; `.ok` is False where a frozen number changed.

    Raises:
        FrostlineError: The fingerprint is of a model with other weights altogether, or a name is of none of
            the variables.
        UnmatchedRuleError: The plan does not fit the model.
        DistributionError: Other processes hold numbers of the model, or may: it is wrapped or sharded.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> before = fingerprint(model)
        >>> _ = model.layers[0].kernel.assign(model.layers[0].kernel + 1)
        >>> verify(model, before, Plan().train("head/kernel")).ok
        True

        Without a model:

        >>> before = fingerprint({"slope": keras.ops.zeros(3), "height": keras.ops.ones(1)})
        >>> after = {"slope": keras.ops.ones(3), "height": keras.ops.ones(1)}
        >>> verify(after, before, ["slope"]).of("intact")
        ('height',)
    """
    if not isinstance(before, Fingerprint):
        raise FrostlineError(
            "this is not a fingerprint",
            received=f"an object of type {type(before).__name__}",
            expected="what frostline.fingerprint(model) returned before training",
        )
    if isinstance(model, Mapping):
        return compare(before, fingerprint(model), _names_of(plan, model), (), strict=strict)
    from frostline.backends.machines import require_one_machine  # receipts are read without a backend

    require_one_machine(model, "verify")
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)  # type: ignore[arg-type]
    trained = [d.weight.address for d in resolution.trained]
    moving = [d.weight.address for d in resolution.moving]
    assigned = [d.weight.address for d in resolution.assigned]
    parts = Parts.of((resolution,))
    after = fingerprint_of(inventory(model), parts)
    return compare(before, after, trained, moving, parts.over_all, assigned=assigned, strict=strict)


def _names_of(plan: Plan | Resolution | Collection[str], variables: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the variables that were to train."""
    if isinstance(plan, Plan | Resolution | str):
        raise FrostlineError(
            "variables without a model have no plan",
            received=f"an object of type {type(plan).__name__}",
            expected="a list of the names of those that were to train",
        )
    for name in plan:
        if name not in variables:
            close = near(name, variables)
            raise FrostlineError(
                f"there is no variable {name!r}",
                received=listed(variables),
                remedy=f"did you mean {listed(close)}?" if close else None,
            )
    return tuple(plan)


def compare(
    before: Fingerprint,
    after: Fingerprint,
    trained: Iterable[str],
    moving: Iterable[str],
    parts: Mapping[str, str] | None = None,
    *,
    assigned: Iterable[str] = (),
    evidence: Evidence | None = None,
    strict: bool = False,
) -> Verification:
    """Hold two fingerprints against each other.

    Args:
        before: Before training.
        after: After training.
        trained: Addresses of the weights that were to train.
        moving: Addresses of the statistics that were allowed to move.
        parts: What was to train of the weights that train in part, in words, by address. By default what
            the fingerprints say themselves.
        assigned: Addresses of what code was to assign.
        evidence: What training saw of the gradients.
        strict: Whether to tell no weight by its order.

    Raises:
        FrostlineError: The two have no address in common, or do not tell the frozen elements of a weight.
    """
    alignment = before.alignment(after, strict=strict)
    before = before.renamed(alignment.names)
    if before and after and not set(before) & set(after):
        first = next(iter(before))
        raise FrostlineError(
            "the two fingerprints are of different models: they share no address",
            received=f"{listed(before, most=3)} before; {listed(after, most=3)} after",
            remedy=f"did you mean {listed(near(first, after))}?" if near(first, after) else None,
        )
    expected = _Expected(
        frozenset(trained), frozenset(moving), frozenset(assigned), parts, evidence or Evidence()
    )
    addresses = dict.fromkeys((*before, *after))
    unrecorded = before.not_in_0_1(known(after))
    findings = tuple(
        VariableFinding(a, after[a].role, "unrecorded", False)
        if a in unrecorded
        else _finding(a, before.get(a), after.get(a), expected)
        for a in addresses
    )
    return Verification(findings, expected.evidence, alignment.by_order)


@dataclass(frozen=True, slots=True)
class _Expected:
    """What was planned for variables, by address, and what training saw of it: as `compare` takes them."""

    trained: frozenset[str]
    moving: frozenset[str]
    assigned: frozenset[str]
    parts: Mapping[str, str] | None
    evidence: Evidence

    def part(self, address: str, old: Digest, new: Digest) -> str:
        """Return what of a weight was to train, in words; empty for the whole of it."""
        return (old.part or new.part) if self.parts is None else self.parts.get(address, "")


def _rest_intact(address: str, part: str, old: Digest, new: Digest) -> bool:
    """Whether all but a part has the bits that it had, if both fingerprints speak of it."""
    before, after = old.rest(part), new.rest(part)
    if before is not None and after is not None:
        return before == after
    if part not in (old.part, new.part):
        which = "before" if before is None else "after"
        raise FrostlineError(
            f"cannot tell whether frozen elements of {address!r} changed: a fingerprint does not record them",
            received=f"the fingerprint {which!r} has no digest of the elements outside {part}",
            remedy="take it with the plan: frostline.fingerprint(model, plan)",
        )
    raise FrostlineError(
        f"cannot tell whether frozen elements of {address!r} changed: the two fingerprints were taken "
        "under different parametrizations",
        received=f"{old.part or 'a plain weight'} before, {new.part or 'a plain weight'} after",
        remedy="take the first after fl.parametrize, and the second before remove or fl.merge; or both with "
        "the plan: frostline.fingerprint(model, plan)",
    )


def _finding(address: str, old: Digest | None, new: Digest | None, expected: _Expected) -> VariableFinding:
    role = (new or old).role  # type: ignore[union-attr]
    if role in ("seed", "metric", "state"):
        return VariableFinding(address, role, "state", False)
    if old is None or new is None:
        return VariableFinding(address, role, "missing", True)
    same, part = old.same_values(new), expected.part(address, old, new)
    trained, assigned = address in expected.trained, address in expected.assigned
    allowed = trained or assigned or address in expected.moving
    if allowed and not same and new.not_finite and new.not_finite != old.not_finite:
        return VariableFinding(address, role, "not finite", True, part)
    if trained and not same and part and not _rest_intact(address, part, old, new):
        return VariableFinding(address, role, "changed", True, part)
    if trained and not same and address in expected.evidence.no_gradient:
        return VariableFinding(address, role, "decay alone", False, part)
    if trained and not same and part:
        return VariableFinding(address, role, "partial", False, part)
    if assigned and not trained and not same:
        return VariableFinding(address, role, "assigned", False)
    outcome = _OUTCOMES[role == "weight", allowed, same]
    return VariableFinding(address, role, outcome, outcome == "changed", why=_why(address, outcome, expected))


def _why(address: str, outcome: Outcome, expected: _Expected) -> str:
    if outcome != "unmoved":
        return ""
    only_assigned = address in expected.assigned and address not in expected.trained
    return "no code assigned to it" if only_assigned else expected.evidence.why_unmoved.get(address, "")
