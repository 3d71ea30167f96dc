"""Whether a model is the base of a delta: as it was without deltas, or with some of those that are on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from frostline._keras.variables import read_value
from frostline.delta.change import LoadedDelta, kind_text, parametrization_of
from frostline.delta.contents import BaseWeight, Delta, Entry
from frostline.elements.algebra import common
from frostline.elements.sets import Elements
from frostline.errors import DeltaError, listed, near
from frostline.files.tensor_file import Array
from frostline.model.alignment import Known, align, former_names, warn_of_former_names
from frostline.model.inventory import Inventory, Weight
from frostline.verification.digest import digest_array, digest_without

_Deltas = tuple[LoadedDelta, ...]


@dataclass(frozen=True, slots=True)
class BaseMatch:
    """How far a model, with the deltas that are on it, is the base of another delta.

    Attributes:
        differing: The addresses whose values are not those of the base, whatever delta is taken away.
        trained_on: The deltas on the model that the base has too, no more than it takes; none where
            something differs.
        conflicts: For each other delta on the model that changes the same elements, by its name, the
            addresses of the weights that they are in.
        part_bases: By address, what the parts of the delta are combined with where the weight has other
            values now.
    """

    differing: tuple[str, ...]
    trained_on: _Deltas
    conflicts: Mapping[str, tuple[str, ...]]
    part_bases: Mapping[str, Array] = field(repr=False)


def find_base(delta: Delta, inventory: Inventory, present: Sequence[LoadedDelta]) -> BaseMatch:
    """Find which of the deltas on a model another delta was trained on top of.

    The base of the delta has their values. What the other deltas changed is compared as it was before them.

    Args:
        delta: The delta, with weights that the model has.
        inventory: The model.
        present: The deltas that are on it, in the order in which they were loaded.
    """
    weights = _own_weights(inventory)
    if not delta.sealed_whole:
        # Of 0.1, which knew of no state but Keras variables.
        weights = {a: w for a, w in weights.items() if a in delta.base or not w.is_held}
    comparison = _Comparison(delta, weights, tuple(present))
    tried: list[tuple[_Deltas, tuple[str, ...]]] = []
    for chosen in _choices(comparison.present):
        tried.append((chosen, comparison.differing(chosen)))
        if not tried[-1][1]:
            break
    chosen, differing = min(tried, key=lambda one: len(one[1]))
    trained_on = () if differing else _needed(chosen, comparison)
    conflicts = {
        one.name: tuple(a for a in delta.entries if comparison.overlaps(a, one))
        for one in present
        if one not in trained_on
    }
    return BaseMatch(
        differing,
        trained_on,
        {name: addresses for name, addresses in conflicts.items() if addresses},
        {} if differing else comparison.part_bases(),
    )


@dataclass(frozen=True)
class _Comparison:
    """The base of a delta beside the values of a model, with some of the deltas on it taken away."""

    delta: Delta
    weights: Mapping[str, Weight]
    present: _Deltas
    _agreements: dict[tuple[str, tuple[str, ...]], bool] = field(default_factory=dict)
    """Known by the address and the deltas taken away there: each means to digest a whole weight."""

    def differing(self, kept: _Deltas) -> tuple[str, ...]:
        """Return the addresses with other values than the base, where no deltas but these are kept."""
        unknown = [address for address in self.weights if address not in self.delta.base]
        return (*unknown, *(a for a, base in self.delta.base.items() if not self._agrees(a, base, kept)))

    def _agrees(self, address: str, base: BaseWeight, kept: _Deltas) -> bool:
        weight = self.weights.get(address)
        if weight is None or (base.shape, base.dtype) != (weight.shape, weight.dtype):
            return False
        removed = tuple(one for one in self._changing(address) if one not in kept)
        key = address, tuple(one.name for one in removed)
        if key not in self._agreements:
            self._agreements[key] = self._compare(weight, base, removed)
        return self._agreements[key]

    def _compare(self, weight: Weight, base: BaseWeight, removed: _Deltas) -> bool:
        """Whether a weight is as in the base, with what some deltas changed as it was before them."""
        entry, changing = self.delta.entries.get(weight.address), self._changing(weight.address)
        overlapping = [one for one in changing if self.overlaps(weight.address, one)]
        if entry is not None and entry.kind == "whole" and not (overlapping and base.blake3):
            # All of it is replaced. What is there tells something only of deltas that replace it too.
            return True
        values = _values(weight, entry, removed)
        if entry is not None and entry.kind == "elements":
            if digest_without(values, elements_of(entry)) != base.frozen:
                return False
            if not overlapping:
                return True
        if digest_array(values) == base.blake3:
            return True
        if entry is None or entry.kind == "whole" or not overlapping:
            return False
        # Training that went on with the same part has its frozen base as its base there.
        without_parts = tuple(one for one in changing if one in removed or one in overlapping)
        return digest_array(_values(weight, entry, without_parts)) == base.blake3

    def part_bases(self) -> dict[str, Array]:
        """Return what parts are combined with, where that is not what the model has there now.

        It is so where a delta that this one was trained on put parts of its own on a plain weight, and
        training went on with these parts.
        """
        found = {}
        for address, entry in self.delta.entries.items():
            weight, changing = self.weights[address], self._changing(address)
            if entry.kind != "parts" or weight.combination is not None or not changing:
                continue
            if digest_array(_values(weight, entry, ())) != self.delta.base[address].blake3:
                found[address] = _values(weight, entry, changing)
        return found

    def overlaps(self, address: str, one: LoadedDelta) -> bool:
        """Whether the delta and one on the model change the same element of a weight."""
        entry = self.delta.entries.get(address)
        return entry is not None and overlap(entry, one.delta.entries.get(address))

    def _changing(self, address: str) -> _Deltas:
        return tuple(one for one in self.present if address in one.delta.entries)


def _choices(present: _Deltas) -> list[_Deltas]:
    """Return what a delta may rest on: nothing, each with what that rests on, the first so many."""
    chains = [tuple(o for o in present if o is one or o.name in one.rests_on) for one in present]
    firsts = [present[:n] for n in range(len(present) + 1)]
    return sorted([*firsts, *chains], key=len)


def _needed(chosen: _Deltas, comparison: _Comparison) -> _Deltas:
    """Leave out what makes no difference, the last loaded first."""
    for one in reversed(chosen):
        fewer = tuple(other for other in chosen if other is not one)
        if not any(one.name in other.rests_on for other in fewer) and not comparison.differing(fewer):
            chosen = fewer
    return chosen


def overlap(one: Entry, other: Entry | None) -> bool:
    """Whether two entries change the same element."""
    if other is None:
        return False
    if one.kind != "elements" or other.kind != "elements":
        return True
    return common(elements_of(one), elements_of(other)) is not None


def elements_of(entry: Entry) -> Elements:
    """Return the elements that an entry replaces."""
    found = parametrization_of(entry, None).elements(entry.shape)
    assert found is not None
    return found


def _values(weight: Weight, entry: Entry | None, removed: _Deltas) -> Array:
    """Return what an entry was trained on, as far as the model has it, without some deltas that are on it."""
    in_base = entry is not None and entry.kind == "parts" and weight.combination is not None
    values: Array = read_value(weight.combination.base if in_base else weight.variable)
    # Where one rests on another, what the upper one replaced are values of the lower one.
    for one in reversed(removed):
        for change in one.changes:
            if change.weight.address == weight.address and not (in_base and change.in_parts):
                values = change.restore_in(values)
    return values


# What a delta requires of a model -----------------------------------------------------------------


def with_addresses_of(delta: Delta, inventory: Inventory) -> Delta:
    """Return a delta with the addresses that this copy of its model has."""
    present = {a: weight.known(_kind(weight)) for a, weight in _own_weights(inventory).items()}
    saved = {a: Known((base.shape, base.dtype)) for a, base in delta.base.items()}
    names = align(saved, present).names
    if former := former_names(names, present):
        warn_of_former_names("the delta", former)
    return delta.renamed(names)


def require_weights(delta: Delta, inventory: Inventory, path: Path) -> None:
    """Check that a model has the weights that a delta changes.

    Raises:
        DeltaError: It has not; says which.
    """
    known = _own_weights(inventory)
    missing = [address for address in delta.entries if address not in known]
    if missing:
        close = near(missing[0], known)
        raise DeltaError(
            f"the delta {str(path)!r} is of another model, {delta.model!r}",
            received=f"it changes {listed(missing)}, which the model {inventory.model_name!r} does not have",
            remedy=f"did you mean a model with {listed(close)}?" if close else None,
        )
    other = [
        f"{address} ({kind_text(entry.shape, entry.dtype)}, in the model {kind_text(*own)})"
        for address, entry in delta.entries.items()
        if (own := _kind(known[address])) != (entry.shape, entry.dtype)
    ]
    if other:
        raise DeltaError(
            f"the delta {str(path)!r} is of a model with weights of other shapes or dtypes",
            received=listed(other),
            expected="the model that training began with",
        )


def require_base(match: BaseMatch, delta: Delta, inventory: Inventory, path: Path) -> None:
    """Check that what a delta leaves as it is has the values that it was trained with.

    Raises:
        DeltaError: It has not; says where.
    """
    if match.differing:
        raise DeltaError(
            f"the delta {str(path)!r} was made for another base than the model {inventory.model_name!r}",
            received=f"these have other values than its base: {listed(match.differing)}",
            expected=f"the base {delta.base_digest[:16]}",
            remedy="load the model that training began with; to load it anyway: force=True, --another-base",
        )


def lora_alphas(inventory: Inventory) -> dict[str, float]:
    """Return the `lora_alpha` of each layer with Keras's own LoRA, by the address of its first factor."""
    return {
        address: float(node.layer.lora_alpha)
        for node in inventory.layers
        if getattr(node.layer, "lora_enabled", False)
        for address in node.own
        if re.fullmatch(r"lora_\w+_a", address.rpartition("/")[2])
    }


def require_same_lora(delta: Delta, inventory: Inventory, path: Path) -> None:
    """Check that layers with Keras's own LoRA scale it as they did when the delta was trained.

    Raises:
        DeltaError: One does not; no weight tells, so it would compute otherwise without a sign.
    """
    present = lora_alphas(inventory)
    other = [
        f"{address.rpartition('/')[0]} ({present[address]:g}, in the delta {alpha:g})"
        for address, alpha in delta.lora.items()
        if address in present and present[address] != alpha
    ]
    if other:
        raise DeltaError(
            f"the delta {str(path)!r} was trained with another lora_alpha",
            received=listed(other),
            expected="the lora_alpha that the layers had in training",
            remedy="enable_lora(rank, lora_alpha=...) as then; to load it anyway: force=True, --another-base",
        )


def require_disjoint(match: BaseMatch) -> None:
    """Check that no delta on the model changes the same elements, except those that it was trained on.

    Raises:
        DeltaError: One does; says where.
    """
    if match.conflicts:
        name, addresses = next(iter(match.conflicts.items()))
        raise DeltaError(
            f"the delta {name!r}, already loaded, changes the same elements",
            received=f"both change {listed(addresses)}",
            expected="deltas that change different elements, or one that was trained on top of the other",
            remedy=f"remove it first: remove_delta(model, {name!r})",
        )


def _own_weights(inventory: Inventory) -> dict[str, Weight]:
    return {w.address: w for w in inventory.of_role("weight", "statistic")}


def _kind(weight: Weight) -> tuple[tuple[int, ...], str]:
    return weight.shape, weight.dtype
