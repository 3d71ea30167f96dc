"""How two deltas differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from rich.console import ConsoleRenderable

from frostline.delta.contents import Delta, Entry
from frostline.render.tables import Rendered, count, stacked, table

Outcome = Literal["same", "changed", "other elements", "only in A", "only in B"]


@dataclass(frozen=True)
class Difference(Rendered):
    """How two deltas differ. Prints as a table.

    Attributes:
        outcomes: For each address in either: `same`, `changed` (the same elements have other values), `other
            elements`, `only in A` or `only in B`.
        largest: For those with other values the largest absolute difference.
        same_base: Whether they have the same base, as far as both know it.
    """

    outcomes: Mapping[str, Outcome]
    largest: Mapping[str, float]
    same_base: bool

    @property
    def same(self) -> bool:
        """Whether both do the same to the same base."""
        return self.same_base and set(self.outcomes.values()) <= {"same"}

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {
            "same": self.same,
            "same_base": self.same_base,
            "weights": dict(self.outcomes),
            "largest_difference": dict(self.largest),
        }

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (address, outcome, f"{self.largest[address]:.3g}" if address in self.largest else "")
            for address, outcome in self.outcomes.items()
        ]
        differ = sum(outcome != "same" for outcome in self.outcomes.values())
        verdict = f"{count(differ, 'weight')} of {len(rows)} differ" if differ else "both change the same"
        return stacked(
            table(("weight", "outcome", "largest difference"), rows, numbers=("largest difference",)),
            "",
            f"{verdict}; {'the same base' if self.same_base else 'other bases'}",
        )


def difference(a: Delta, b: Delta) -> Difference:
    """Compare two deltas, weight by weight.

    Args:
        a: The one.
        b: The other.
    """
    outcomes: dict[str, Outcome] = {}
    largest: dict[str, float] = {}
    for address in dict.fromkeys((*a.entries, *b.entries)):
        one, other = a.entries.get(address), b.entries.get(address)
        if one is None or other is None:
            outcomes[address] = "only in B" if one is None else "only in A"
        elif not _comparable(one, other):
            outcomes[address] = "other elements"
        else:
            found = _largest(one, other)
            outcomes[address] = "same" if found is None else "changed"
            if found is not None:
                largest[address] = found
    return Difference(outcomes, largest, _same_base(a, b))


def _comparable(one: Entry, other: Entry) -> bool:
    if (one.kind, one.how, one.shape, one.dtype) != (other.kind, other.how, other.shape, other.dtype):
        return False
    if one.places.keys() != other.places.keys():
        return False
    return all(np.array_equal(array, other.places[name]) for name, array in one.places.items())


def _largest(one: Entry, other: Entry) -> float | None:
    """Return the largest difference; None where every bit is the same."""
    if all(array.tobytes() == other.values[name].tobytes() for name, array in one.values.items()):
        return None
    gaps = (
        np.max(np.abs(array.astype("float64") - other.values[name].astype("float64")), initial=0.0)
        for name, array in one.values.items()
    )
    return float(max(gaps))


def _same_base(a: Delta, b: Delta) -> bool:
    """Whether what both know of their bases agrees."""
    if a.base.keys() != b.base.keys():
        return False
    for address, one in a.base.items():
        other = b.base[address]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return False
        if one.blake3 and other.blake3 and one.blake3 != other.blake3:
            return False
    return True
