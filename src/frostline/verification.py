"""Fingerprints before and after, and what they prove: frozen numbers identical, trained ones moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from blake3 import blake3
from rich.console import ConsoleRenderable

from frostline import _keras
from frostline.address import Role, Weight, inventory
from frostline.aligning import aligned
from frostline.digesting import digest_array, digest_with, digest_without
from frostline.elementsets import covers
from frostline.errors import FrostlineError, VerificationError, listed, near
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Selection
from frostline.partly import Parts, part_text
from frostline.plan import Plan
from frostline.render import Rendered, count, stacked, table
from frostline.resolution import Resolution, resolve

Outcome = Literal["intact", "changed", "trained", "partial", "unmoved", "moved", "held", "state", "missing"]

_MEANING: dict[Outcome, str] = {
    "intact": "frozen, every bit as before",
    "changed": "frozen, yet its bits changed",
    "trained": "planned to train, and moved",
    "partial": "planned to train in part; that moved, the rest has every bit as before",
    "unmoved": "planned to train, and did not move",
    "moved": "statistic of a layer in training mode, and moved",
    "held": "statistic, every bit as before",
    "state": "random-seed or metric state, never trained",
    "missing": "in one of the two models only",
}


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of one variable.

    Attributes:
        role: `weight`, `statistic`, `seed` or `metric`.
        shape: Its shape.
        dtype: Its dtype.
        blake3: BLAKE3 digest, in hexadecimal, of its bytes in C order, little endian.
        frozen: For a parametrized weight the same of its base, with zeros where trained elements stand.
        part: For a parametrized weight what of it trains, in words.
        rests: For a weight that a plan trains in part, by what trains of it, the same of all the rest.
    """

    role: Role
    shape: tuple[int, ...]
    dtype: str
    blake3: str
    frozen: str = ""
    part: str = ""
    rests: Mapping[str, str] = field(default_factory=dict, hash=False)

    def rest(self, part: str) -> str | None:
        """Return the digest of all but a part, where it was taken."""
        return self.rests.get(part) or (self.frozen if part == self.part and part else None)

    def to_data(self) -> dict[str, Any]:
        """Return the digest as plain data, for JSON."""
        data = {
            "role": self.role,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "blake3": self.blake3,
        }
        data |= {"frozen": self.frozen, "part": self.part} if self.frozen else {}
        return data | ({"rests": dict(self.rests)} if self.rests else {})

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Digest:
        """Make a digest from plain data, the reverse of `to_data`."""
        if data["role"] not in get_args(Role):
            raise ValueError(f"unknown role {data['role']!r}")
        plain = data["role"], tuple(data["shape"]), str(data["dtype"]), str(data["blake3"])
        rests = {str(part): str(digest) for part, digest in data.get("rests", {}).items()}
        return cls(*plain, str(data.get("frozen", "")), str(data.get("part", "")), rests)

    def same_values(self, other: Digest) -> bool:
        """Return whether another digest is of the same values, parametrized or not."""
        plain = (replace(one, frozen="", part="", rests={}) for one in (self, other))
        return next(plain) == next(plain)


@dataclass(frozen=True, slots=True)
class Fingerprint(Mapping[str, Digest]):
    """The digest of every variable of a model, by address.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> fingerprint(model) == fingerprint(model)
        True
    """

    digests: Mapping[str, Digest]

    def __getitem__(self, address: str) -> Digest:
        return self.digests[address]

    def __iter__(self) -> Iterator[str]:
        return iter(self.digests)

    def __len__(self) -> int:
        return len(self.digests)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fingerprint) and dict(self.digests) == dict(other.digests)

    def __hash__(self) -> int:
        return hash(self.combined)

    def __str__(self) -> str:
        return f"Fingerprint of {count(len(self), 'variable')}: {self.combined[:16]}"

    @property
    def combined(self) -> str:
        """One digest over weights and statistics, their addresses, shapes and dtypes."""
        digest = blake3()
        for address in sorted(self.digests):
            one = self.digests[address]
            if one.role in ("weight", "statistic"):
                digest.update(f"{address}|{one.dtype}|{one.shape}|{one.blake3}\n".encode())
        return digest.hexdigest()

    def as_in(self, other: Fingerprint) -> Fingerprint:
        """Return the same by the addresses of another fingerprint, where it is of a copy of the same model.

        Keras numbers layers without names as they come, so they may have other addresses in another process.
        """
        names = aligned(kinds(self), kinds(other))
        return Fingerprint({names.get(address, address): one for address, one in self.digests.items()})

    def to_data(self) -> dict[str, Any]:
        """Return the fingerprint as plain data, for JSON."""
        return {address: digest.to_data() for address, digest in self.digests.items()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Fingerprint:
        """Make a fingerprint from plain data, the reverse of `to_data`."""
        return cls({address: Digest.from_data(one) for address, one in data.items()})


def kinds(held: Mapping[str, Digest] | Mapping[str, Weight]) -> dict[str, tuple[str, tuple[int, ...], str]]:
    """Return role, shape and dtype of each weight and statistic, by address, in the order of the model."""
    kept = ("weight", "statistic")
    return {a: (one.role, tuple(one.shape), one.dtype) for a, one in held.items() if one.role in kept}


def fingerprint(model: Any, plan: Plan | Resolution | None = None) -> Fingerprint:
    """Take the digest of every variable of a model.

    Args:
        model: A built Keras model or layer; or, without a model, the variables, tensors or arrays of the
            backend by name.
        plan: A plan, or its resolution, that trains weights in part: of these the digest of what it leaves
            frozen is taken too, so that `verify` can tell.

    Raises:
        UnbuiltModelError: Its weights do not exist yet.
        PlanError: The plan does not fit the model.
        FrostlineError: Something in a mapping holds no numbers.

    Example:
        >>> import numpy as np
        >>> before = fingerprint({"table": np.zeros((2, 3), "float32")})
        >>> before["table"].shape, before["table"].dtype
        ((2, 3), 'float32')
    """
    if isinstance(model, Mapping):
        return _fingerprint_of_raw(model)
    if plan is None:
        return fingerprint_of(inventory(model))
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    return fingerprint_of(resolution.inventory, Parts.of((resolution,)))


def fingerprint_of(weights: Iterable[Weight], parts: Parts | None = None) -> Fingerprint:
    """Take the digest of variables that are known already, as they are now.

    Args:
        weights: The variables.
        parts: What plans train of some of them, so that the rest gets a digest of its own.
    """
    every = parts.every if parts is not None else {}
    return Fingerprint({w.address: _digest(w, every.get(w.address, {})) for w in weights})


def _fingerprint_of_raw(variables: Mapping[str, Any]) -> Fingerprint:
    found = {}
    for name, variable in variables.items():
        values = _keras.glimpse(variable)
        if values.dtype == object:
            raise FrostlineError(
                f"no numbers can be read from {name!r}",
                received=f"an object of type {type(variable).__name__}",
                expected="a variable, a tensor or an array",
            )
        found[name] = Digest("weight", values.shape, values.dtype.name, digest_array(values))
    return Fingerprint(found)


def _digest(weight: Weight, parts: Mapping[str, Parametrization]) -> Digest:
    rests = {part: _rest(weight, how) for part, how in parts.items()}
    plain = weight.role, weight.shape, weight.dtype, _whole(weight)
    if weight.combination is None:
        return Digest(*plain, rests=rests)
    part = part_text(weight.combination.how, weight.shape)
    return Digest(*plain, rests.get(part) or _rest(weight, weight.combination.how), part, rests)


def _whole(weight: Weight) -> str:
    """Digest all of a weight; one of which some elements train is not put together for it."""
    made_of = weight.combination
    if made_of is None or not isinstance(made_of.how, Selection):
        return digest_array(_keras.glimpse(weight.variable))
    part = _keras.glimpse(made_of.parts[made_of.how.part])
    return digest_with(_keras.glimpse(made_of.base), made_of.how.elements(weight.shape), part)


def _rest(weight: Weight, how: Parametrization) -> str:
    """Digest what a parametrization leaves frozen of a weight, whether it is on it now or not."""
    elements = how.elements(weight.shape)
    values = _keras.glimpse(weight.combination.base if _is_in_base(weight, how) else weight.variable)
    return digest_array(values) if elements is None else digest_without(values, elements)


def _is_in_base(weight: Weight, how: Parametrization) -> bool:
    """Whether all that a parametrization leaves frozen of a weight stands in the base that it has now."""
    made_of = weight.combination
    if made_of is None:
        return False
    left, now = how.elements(weight.shape), made_of.how.elements(weight.shape)
    return bool(made_of.how == how or (left is not None and now is not None and covers(left, now)))


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one variable.

    Attributes:
        address: Its address.
        role: What it is.
        outcome: `intact`, `changed`, `trained`, `unmoved`, `moved`, `held`, `state` or `missing`.
        violation: Whether this breaks the plan.
        part: What of it was to train, in words, where that was not the whole.
    """

    address: str
    role: Role
    outcome: Outcome
    violation: bool
    part: str = ""


@dataclass(frozen=True)
class Verification(Rendered):
    """What happened to every variable, held against a plan.

    Attributes:
        findings: One for each variable, in the model's order.
        no_gradient: Addresses of weights planned to train that got no gradient, where this is known.
    """

    findings: tuple[Finding, ...]
    no_gradient: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether no frozen number changed, and nothing is missing."""
        return not any(f.violation for f in self.findings)

    def of(self, *outcomes: Outcome) -> tuple[str, ...]:
        """Return the addresses with one of these outcomes."""
        return tuple(f.address for f in self.findings if f.outcome in outcomes)

    def _named(self, outcome: Outcome) -> list[str]:
        found = [f for f in self.findings if f.outcome == outcome]
        return [f"{f.address} [{f.part}]" if f.part and outcome == "partial" else f.address for f in found]

    def require_ok(self) -> None:
        """Raise `VerificationError` that names the frozen variables that changed, if any did."""
        broken = [f for f in self.findings if f.violation]
        if broken:
            raise VerificationError(
                f"{count(len(broken), 'frozen variable')} changed or went missing",
                received=listed(f"{f.address} ({f.outcome})" for f in broken),
                expected="bits identical to those before training",
                remedy="see what assigns to them: a callback, an assign in `call`, an optimizer of your own",
            )

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
            "no_gradient": list(self.no_gradient),
        }

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (str(len(self.of(outcome))), outcome, meaning, listed(self._named(outcome), most=2))
            for outcome, meaning in _MEANING.items()
            if self.of(outcome)
        ]
        verdict = "verified: every frozen number is bit-identical"
        if not self.ok:
            verdict = "NOT verified: frozen numbers changed"
        parts: list[ConsoleRenderable | str] = [
            table(("count", "outcome", "meaning", "variables"), rows, numbers=("count",)),
            "",
            verdict,
        ]
        if self.no_gradient:
            parts.append(f"without a gradient: {listed(self.no_gradient)}")
        return stacked(*parts)


def verify(model: Any, before: Fingerprint, plan: Plan | Resolution | Collection[str]) -> Verification:
    """Hold a model against its fingerprint before training, and against the plan.

    Args:
        model: The model after training; or variables by name, as `fingerprint` takes them.
        before: Its fingerprint before.
        plan: The plan it was trained under, or its resolution; of variables by name, the names of those that
            were to train.

    Returns:
        A `Verification`; `.ok` is False where a frozen number changed.

    Raises:
        FrostlineError: The fingerprint is of a model with other weights altogether, or a name is of none of
            the variables.
        UnmatchedRuleError: The plan does not fit the model.

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
        return compare(before, fingerprint(model), _names_of(plan, model), ())
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)  # type: ignore[arg-type]
    trained = {d.weight.address for d in resolution.trained}
    moving = {d.weight.address for d in resolution.statistics if d.trains}
    parts = Parts.of((resolution,))
    return compare(before, fingerprint_of(inventory(model), parts), trained, moving, parts.over_all)


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
) -> Verification:
    """Hold two fingerprints against each other.

    Args:
        before: Before training.
        after: After training.
        trained: Addresses of the weights that were to train.
        moving: Addresses of the statistics that were allowed to move.
        parts: What was to train of the weights that train in part, in words, by address. By default what
            the fingerprints say themselves.

    Raises:
        FrostlineError: The two have no address in common, or do not tell the frozen elements of a weight.
    """
    before = before.as_in(after)
    if before and after and not set(before) & set(after):
        first = next(iter(before))
        raise FrostlineError(
            "the two fingerprints are of different models: they share no address",
            received=f"{listed(before, most=3)} before; {listed(after, most=3)} after",
            remedy=f"did you mean {listed(near(first, after))}?" if near(first, after) else None,
        )
    allowed = set(trained) | set(moving)
    addresses = dict.fromkeys((*before, *after))
    findings = (_finding(a, before.get(a), after.get(a), allowed, parts) for a in addresses)
    return Verification(tuple(findings))


def _rest_intact(address: str, part: str, old: Digest, new: Digest) -> bool:
    """Whether all but a part has the bits that it had, if both fingerprints speak of it."""
    one, two = old.rest(part), new.rest(part)
    if one is not None and two is not None:
        return one == two
    if part not in (old.part, new.part):
        raise FrostlineError(
            f"whether frozen elements of {address!r} changed cannot be told: a fingerprint does not speak of "
            "them",
            received=f"a fingerprint {'before' if one is None else 'after'} without the rest beside {part}",
            remedy="take it with the plan: frostline.fingerprint(model, plan)",
        )
    raise FrostlineError(
        f"whether frozen elements of {address!r} changed cannot be told: the two fingerprints were taken "
        "under different parametrizations",
        received=f"{old.part or 'a plain weight'} before, {new.part or 'a plain weight'} after",
        remedy="take the first after fl.parametrize, and the second before remove or fl.merge; or both with "
        "the plan: frostline.fingerprint(model, plan)",
    )


def _finding(
    address: str,
    old: Digest | None,
    new: Digest | None,
    allowed: set[str],
    parts: Mapping[str, str] | None,
) -> Finding:
    role = (new or old).role  # type: ignore[union-attr]
    if role in ("seed", "metric"):
        return Finding(address, role, "state", False)
    if old is None or new is None:
        return Finding(address, role, "missing", True)
    same = old.same_values(new)
    part = (old.part or new.part) if parts is None else parts.get(address, "")
    if address in allowed and not same and part:
        held = _rest_intact(address, part, old, new)
        return Finding(address, role, "partial" if held else "changed", not held, part)
    outcomes: dict[tuple[bool, bool, bool], Outcome] = {
        (True, True, True): "unmoved",
        (True, True, False): "trained",
        (True, False, True): "intact",
        (True, False, False): "changed",
        (False, True, True): "held",
        (False, True, False): "moved",
        (False, False, True): "held",
        (False, False, False): "changed",
    }
    outcome = outcomes[role == "weight", address in allowed, same]
    return Finding(address, role, outcome, outcome == "changed")
