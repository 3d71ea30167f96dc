"""Fingerprints before and after, and what they prove: frozen numbers identical, trained ones moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from frostline.errors import FrostlineError, listed, near
from frostline.model.inventory import inventory
from frostline.plan.plan import Plan
from frostline.resolution.parts import Parts
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.verification.fingerprint import Digest, Fingerprint, fingerprint, fingerprint_of, known
from frostline.verification.outcomes import MOVED, Evidence, Outcome, VariableFinding, Verification

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
        moved = role == "state" and (old is None or new is None or not old.same_values(new))
        return VariableFinding(address, role, "state", False, why=MOVED if moved else "")
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
