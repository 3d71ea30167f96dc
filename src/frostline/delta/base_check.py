"""What a delta was trained on: the base, or the base with deltas that are on the model already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from frostline._keras.variables import read_value
from frostline.delta.change import parametrization_of
from frostline.delta.contents import Delta, Entry, Held
from frostline.delta.loaded import LoadedDelta
from frostline.elements.algebra import common
from frostline.elements.sets import Elements
from frostline.files.tensor_file import Array
from frostline.model.inventory import Inventory, Weight
from frostline.verification.digest import digest_array, digest_without

_Choice = tuple[LoadedDelta, ...]


class Ground:
    """What of a model a delta was trained on.

    The deltas on the model are looked through for those whose values the base of the delta has. These are
    beneath it; what the others changed is held against it as it was before them.

    Args:
        delta: The delta.
        held: The model.
        present: The deltas that are on it, in the order in which they were loaded.

    Attributes:
        beneath: The deltas that it rests on; none more than it takes.
        differ: The addresses that have other values than its base all the same.
    """

    def __init__(self, delta: Delta, held: Inventory, present: Sequence[LoadedDelta]) -> None:
        self._delta, self._present = delta, tuple(present)
        self._weights = {w.address: w for w in held if w.role in ("weight", "statistic")}
        self._known: dict[tuple[str, tuple[str, ...]], bool] = {}
        found: list[tuple[_Choice, list[str]]] = []
        for choice in _choices(self._present):
            found.append((choice, self._differing(choice)))
            if not found[-1][1]:
                break
        choice, self.differ = min(found, key=lambda one: len(one[1]))
        self.beneath = choice if self.differ else self._needed(choice)

    def changed_twice(self) -> Iterator[tuple[LoadedDelta, list[str]]]:
        """Yield the deltas that it does not rest on and that change the same elements, and where."""
        for one in self._present:
            both = [a for a in self._delta.entries if self._overlaps(a, one)]
            if both and (self.differ or one not in self.beneath):
                yield one, both

    def under(self, address: str) -> Array | None:
        """Return what parts are combined with, where that is not what the model has there now.

        It is so where a delta beneath put parts of its own on a plain weight, and training went on with
        these parts.
        """
        weight, entry = self._weights[address], self._delta.entries[address]
        touching = self._touching(address)
        if entry.kind != "parts" or weight.combination is not None or not touching or self.differ:
            return None
        if digest_array(_values(weight, entry, ())) == self._delta.base[address].blake3:
            return None
        return _values(weight, entry, touching)

    def _needed(self, choice: _Choice) -> _Choice:
        """Leave out what makes no difference; what is above comes first."""
        for one in reversed(choice):
            less = tuple(other for other in choice if other is not one)
            if not any(one.name in other.rests_on for other in less) and not self._differing(less):
                choice = less
        return choice

    def _differing(self, beneath: _Choice) -> list[str]:
        unknown = [address for address in self._weights if address not in self._delta.base]
        return unknown + [a for a, wanted in self._delta.base.items() if not self._agrees(a, wanted, beneath)]

    def _agrees(self, address: str, wanted: Held, beneath: _Choice) -> bool:
        weight = self._weights.get(address)
        if weight is None or (wanted.shape, wanted.dtype) != (weight.shape, weight.dtype):
            return False
        off = tuple(one for one in self._touching(address) if one not in beneath)
        key = address, tuple(one.name for one in off)
        if key not in self._known:
            self._known[key] = self._compare(weight, wanted, off)
        return self._known[key]

    def _compare(self, weight: Weight, wanted: Held, off: _Choice) -> bool:
        """Whether a weight is as in the base, with what some deltas changed as it was before them."""
        entry, touching = self._delta.entries.get(weight.address), self._touching(weight.address)
        twice = [one for one in touching if self._overlaps(weight.address, one)]
        if entry is not None and entry.kind == "whole" and not (twice and wanted.blake3):
            return True
        values = _values(weight, entry, off)
        if entry is not None and entry.kind == "elements":
            if digest_without(values, elements_of(entry)) != wanted.frozen:
                return False
            if not twice:
                return True
        if digest_array(values) == wanted.blake3:
            return True
        if entry is None or entry.kind == "whole" or not twice:
            return False
        # Training that went on with the same part has its frozen base as its base there.
        bare = tuple(one for one in touching if one in off or one in twice)
        return digest_array(_values(weight, entry, bare)) == wanted.blake3

    def _touching(self, address: str) -> _Choice:
        return tuple(one for one in self._present if address in one.delta.entries)

    def _overlaps(self, address: str, one: LoadedDelta) -> bool:
        entry = self._delta.entries.get(address)
        return entry is not None and overlap(entry, one.delta.entries.get(address))


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


def _choices(present: _Choice) -> list[_Choice]:
    """Return what a delta may rest on: nothing, each with what that rests on, the first so many."""
    chains = [tuple(o for o in present if o is one or o.name in one.rests_on) for one in present]
    firsts = [present[:n] for n in range(len(present) + 1)]
    return sorted([*firsts, *chains], key=len)


def _values(weight: Weight, entry: Entry | None, off: _Choice) -> Array:
    """Return what an entry is held against, without some deltas that are on the model."""
    in_base = entry is not None and entry.kind == "parts" and weight.combination is not None
    values: Array = read_value(weight.combination.base if in_base else weight.variable)
    # Where one rests on another, what the upper one replaced are values of the lower one.
    for one in reversed(off):
        for change in one.changes:
            if change.weight.address == weight.address and not (in_base and change.in_parts):
                values = change.restore_in(values)
    return values
