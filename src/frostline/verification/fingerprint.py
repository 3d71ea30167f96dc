"""Fingerprints: a digest of every variable of a model, to hold against another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from blake3 import blake3

from frostline._keras.variables import read_value
from frostline.elements.algebra import covers
from frostline.errors import FrostlineError
from frostline.model.alignment import Alignment, Known, align
from frostline.model.inventory import Role, Weight, inventory
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import Selection
from frostline.plan.plan import Plan
from frostline.render.tables import count
from frostline.resolution.parts import Parts, part_text
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.verification.digest import digest_array, digest_with, digest_without, not_finite


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
        not_finite: The digest of where it holds NaN or infinity: empty where it holds none, None where that
            was not recorded.
        stem: Its address with `*` for the number of each name that Keras made by itself; None where that was
            not recorded.
        former: The same as Frostline 0.1 had it, where that was another. Not written to files.
        is_held: Whether it is of state that is not a Keras variable. Not written to files.
    """

    role: Role
    shape: tuple[int, ...]
    dtype: str
    blake3: str
    frozen: str = ""
    part: str = ""
    rests: Mapping[str, str] = field(default_factory=dict, hash=False)
    stem: str | None = field(default=None, compare=False)
    not_finite: str | None = field(default=None, compare=False)
    former: str = field(default="", compare=False)
    is_held: bool = field(default=False, compare=False)

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
        more = {"stem": self.stem, "not_finite": self.not_finite}
        data |= {name: value for name, value in more.items() if value is not None}
        return data | ({"rests": dict(self.rests)} if self.rests else {})

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Digest:
        """Make a digest from plain data, the reverse of `to_data`."""
        if data["role"] not in get_args(Role):
            raise ValueError(f"unknown role {data['role']!r}")
        plain = data["role"], tuple(data["shape"]), str(data["dtype"]), str(data["blake3"])
        rests = {str(part): str(digest) for part, digest in data.get("rests", {}).items()}
        frozen, part = str(data.get("frozen", "")), str(data.get("part", ""))
        stem, not_finite = (str(data[key]) if key in data else None for key in ("stem", "not_finite"))
        return cls(*plain, frozen, part, rests, stem, not_finite)

    def same_values(self, other: Digest) -> bool:
        """Return whether another digest is of the same values, parametrized or not."""
        mine = self.role, self.shape, self.dtype, self.blake3
        return mine == (other.role, other.shape, other.dtype, other.blake3)


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
                line = f"{address}|{one.dtype}|{one.shape}|{one.blake3}\n"
                # A receipt by somebody else may hold half of a pair, which has no bytes of its own.
                digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def alignment(self, other: Fingerprint, *, strict: bool = False) -> Alignment:
        """Return which weight here is which in another fingerprint, of a copy of the same model.

        Keras numbers layers without names as they come, so they may have other addresses in another process.

        Args:
            other: The other fingerprint.
            strict: Whether only weights of the same address are the same.
        """
        return align(known(self), known(other), strict=strict)

    def not_in_0_1(self, present: Mapping[str, Known]) -> set[str]:
        """Return what this lacks of another one since Frostline 0.1 took it, which told no stems either."""
        if any(digest.stem is not None for digest in self.digests.values()):
            return set()
        return {a for a, one in present.items() if one.unknown_to_0_1 and a not in self.digests}

    def renamed(self, names: Mapping[str, str]) -> Fingerprint:
        """Return the same by other addresses."""
        return Fingerprint({names.get(address, address): one for address, one in self.digests.items()})

    def to_data(self) -> dict[str, Any]:
        """Return the fingerprint as plain data, for JSON."""
        return {address: digest.to_data() for address, digest in self.digests.items()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Fingerprint:
        """Make a fingerprint from plain data, the reverse of `to_data`."""
        return cls({address: Digest.from_data(one) for address, one in data.items()})


def known(variables: Mapping[str, Digest] | Mapping[str, Weight]) -> dict[str, Known]:
    """Return role, shape and dtype of each weight and statistic, by address, in the order of the model."""
    return {
        address: Known((one.role, tuple(one.shape), one.dtype), one.stem, one.former, one.is_held)
        for address, one in variables.items()
        if one.role in ("weight", "statistic")
    }


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
    from frostline.backends.machines import require_one_machine  # receipts are read without a backend

    require_one_machine(model, "fingerprint")
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
    parts_of = parts.every if parts is not None else {}
    return Fingerprint({w.address: _digest(w, parts_of.get(w.address, {})) for w in weights})


def _fingerprint_of_raw(variables: Mapping[str, Any]) -> Fingerprint:
    found = {}
    for name, variable in variables.items():
        values = read_value(variable)
        if values.dtype == object:
            raise FrostlineError(
                f"no numbers can be read from {name!r}",
                received=f"an object of type {type(variable).__name__}",
                expected="a variable, a tensor or an array",
            )
        found[name] = Digest(
            "weight",
            values.shape,
            values.dtype.name,
            digest_array(values),
            stem=name,
            not_finite=not_finite(values),
        )
    return Fingerprint(found)


def _digest(weight: Weight, parts: Mapping[str, Parametrization]) -> Digest:
    rests = {part: _rest(weight, how) for part, how in parts.items()}
    plain = weight.role, weight.shape, weight.dtype, _whole(weight)
    if weight.combination is None:
        told: dict[str, Any] = {"stem": weight.stem, "former": weight.former, "is_held": weight.is_held}
        return Digest(*plain, rests=rests, not_finite=_not_finite(weight), **told)
    part = part_text(weight.combination.how, weight.shape)
    frozen = rests.get(part) or _rest(weight, weight.combination.how)
    return Digest(*plain, frozen, part, rests, weight.stem, _not_finite(weight))


def _whole(weight: Weight) -> str:
    """Digest all of a weight; one of which some elements train is not put together for it."""
    combination = weight.combination
    if combination is None or not isinstance(combination.how, Selection):
        return digest_array(read_value(weight.variable))
    part = read_value(combination.parts[combination.how.part])
    return digest_with(read_value(combination.base), combination.how.elements(weight.shape), part)


def _not_finite(weight: Weight) -> str:
    """Digest where a weight holds NaN or infinity; seldom put one together of which some elements train."""
    combination = weight.combination
    if combination is not None and isinstance(combination.how, Selection):
        parts = (combination.base, combination.parts[combination.how.part])
        if not any(not_finite(read_value(part)) for part in parts):
            return ""
    return not_finite(read_value(weight.variable))


def _rest(weight: Weight, how: Parametrization) -> str:
    """Digest what a parametrization leaves frozen of a weight, whether it is on it now or not."""
    elements = how.elements(weight.shape)
    values = read_value(weight.combination.base if _is_in_base(weight, how) else weight.variable)
    return digest_array(values) if elements is None else digest_without(values, elements)


def _is_in_base(weight: Weight, how: Parametrization) -> bool:
    """Whether all that a parametrization leaves frozen of a weight stands in the base that it has now."""
    combination = weight.combination
    if combination is None:
        return False
    trained, now = how.elements(weight.shape), combination.how.elements(weight.shape)
    # What trains now stands in its part; the base beneath it is out of date there and nowhere else.
    return bool(combination.how == how or (trained is not None and now is not None and covers(trained, now)))
