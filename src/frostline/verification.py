"""Fingerprints before and after, and what they prove: frozen numbers identical, trained ones moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from rich.console import ConsoleRenderable

from frostline import _keras
from frostline.address import Role, Weight, inventory
from frostline.errors import FrostlineError, VerificationError, listed, near
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
    """

    role: Role
    shape: tuple[int, ...]
    dtype: str
    blake3: str
    frozen: str = ""
    part: str = ""

    def to_data(self) -> dict[str, Any]:
        """Return the digest as plain data, for JSON."""
        data = {
            "role": self.role,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "blake3": self.blake3,
        }
        return data | ({"frozen": self.frozen, "part": self.part} if self.frozen else {})

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Digest:
        """Make a digest from plain data, the reverse of `to_data`."""
        if data["role"] not in get_args(Role):
            raise ValueError(f"unknown role {data['role']!r}")
        plain = data["role"], tuple(data["shape"]), str(data["dtype"]), str(data["blake3"])
        return cls(*plain, str(data.get("frozen", "")), str(data.get("part", "")))

    def same_values(self, other: Digest) -> bool:
        """Return whether another digest is of the same values, parametrized or not."""
        return replace(self, frozen="", part="") == replace(other, frozen="", part="")


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

    def to_data(self) -> dict[str, Any]:
        """Return the fingerprint as plain data, for JSON."""
        return {address: digest.to_data() for address, digest in self.digests.items()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Fingerprint:
        """Make a fingerprint from plain data, the reverse of `to_data`."""
        return cls({address: Digest.from_data(one) for address, one in data.items()})


def digest_array(values: npt.NDArray[Any]) -> str:
    """Return the BLAKE3 digest, in hexadecimal, of an array's bytes in C order, little endian."""
    contiguous = np.ascontiguousarray(values)
    if contiguous.dtype.byteorder == ">":
        contiguous = contiguous.astype(contiguous.dtype.newbyteorder("<"))
    digest = blake3(max_threads=blake3.AUTO)
    digest.update(contiguous.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def fingerprint(model: Any) -> Fingerprint:
    """Take the digest of every variable of a model.

    Args:
        model: A built Keras model or layer.

    Raises:
        UnbuiltModelError: Its weights do not exist yet.
    """
    return fingerprint_of(inventory(model))


def fingerprint_of(weights: Iterable[Weight]) -> Fingerprint:
    """Take the digest of variables that are known already, as they are now."""
    return Fingerprint({w.address: _digest(w) for w in weights})


def _digest(weight: Weight) -> Digest:
    values = digest_array(_keras.glimpse(weight.variable))
    frozen = weight.frozen_values()
    if frozen is None:
        return Digest(weight.role, weight.shape, weight.dtype, values)
    part = str(weight.combination.how)
    return Digest(weight.role, weight.shape, weight.dtype, values, digest_array(frozen), part)


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one variable.

    Attributes:
        address: Its address.
        role: What it is.
        outcome: `intact`, `changed`, `trained`, `unmoved`, `moved`, `held`, `state` or `missing`.
        violation: Whether this breaks the plan.
    """

    address: str
    role: Role
    outcome: Outcome
    violation: bool


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
            "unmoved": list(self.of("unmoved")),
            "no_gradient": list(self.no_gradient),
        }

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (str(len(self.of(outcome))), outcome, meaning, listed(self.of(outcome), most=2))
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


def verify(model: Any, before: Fingerprint, plan: Plan | Resolution) -> Verification:
    """Hold a model against its fingerprint before training, and against the plan.

    Args:
        model: The model after training.
        before: Its fingerprint before.
        plan: The plan it was trained under, or its resolution.

    Returns:
        A `Verification`; `.ok` is False where a frozen number changed.

    Raises:
        FrostlineError: The fingerprint is of a model with other weights altogether.
        UnmatchedRuleError: The plan does not fit the model.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> before = fingerprint(model)
        >>> _ = model.layers[0].kernel.assign(model.layers[0].kernel + 1)
        >>> verify(model, before, Plan().train("head/kernel")).ok
        True
    """
    if not isinstance(before, Fingerprint):
        raise FrostlineError(
            "this is not a fingerprint",
            received=f"an object of type {type(before).__name__}",
            expected="what frostline.fingerprint(model) returned before training",
        )
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    trained = {d.weight.address for d in resolution.trained}
    moving = {d.weight.address for d in resolution.statistics if d.trains}
    return compare(before, fingerprint(model), trained, moving)


def compare(
    before: Fingerprint, after: Fingerprint, trained: Iterable[str], moving: Iterable[str]
) -> Verification:
    """Hold two fingerprints against each other.

    Args:
        before: Before training.
        after: After training.
        trained: Addresses of the weights that were to train.
        moving: Addresses of the statistics that were allowed to move.

    Raises:
        FrostlineError: The two have no address in common.
    """
    if before and after and not set(before) & set(after):
        first = next(iter(before))
        raise FrostlineError(
            "the two fingerprints are of different models: they share no address",
            received=f"{listed(before, most=3)} before; {listed(after, most=3)} after",
            remedy=f"did you mean {listed(near(first, after))}?" if near(first, after) else None,
        )
    allowed = set(trained) | set(moving)
    addresses = dict.fromkeys((*before, *after))
    return Verification(tuple(_finding(a, before.get(a), after.get(a), allowed) for a in addresses))


def _frozen_of(address: str, old: Digest, new: Digest) -> str:
    """Return the digest of what stayed frozen, if both fingerprints speak of the same elements."""
    if old.part == new.part:
        return new.frozen
    raise FrostlineError(
        f"whether frozen elements of {address!r} changed cannot be told: the two fingerprints were taken "
        "under different parametrizations",
        received=f"{old.part or 'a plain weight'} before, {new.part or 'a plain weight'} after",
        remedy="take the first after fl.parametrize, and the second before remove or fl.merge",
    )


def _finding(address: str, old: Digest | None, new: Digest | None, allowed: set[str]) -> Finding:
    role = (new or old).role  # type: ignore[union-attr]
    if role in ("seed", "metric"):
        return Finding(address, role, "state", False)
    if old is None or new is None:
        return Finding(address, role, "missing", True)
    same = old.same_values(new)
    if address in allowed and not same and (old.frozen or new.frozen):
        held = old.frozen == _frozen_of(address, old, new)
        return Finding(address, role, "partial" if held else "changed", not held)
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
