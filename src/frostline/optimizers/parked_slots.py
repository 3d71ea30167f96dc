"""Slots of an optimizer for what does not train now, kept until it trains again.

They are kept by weight and by element: a row that trained before finds its slots again, alone or among
others. An element is in one record at most, the latest. A record is of one weight object: another weight
that has come to its address since does not get what it did not earn.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.layers import whole_weight
from frostline.elements.algebra import common, everything, ids_of, of_ids, positions, same, without
from frostline.elements.sets import Elements
from frostline.optimizers.slots import Array

Steps = int | npt.NDArray[np.int64]
"""How many steps something has trained: one number, or one for each element."""


@dataclass(frozen=True, slots=True)
class ParkedSlots:
    """The slots of some elements of a weight, or of a part that is not elements of it.

    Attributes:
        slots: By name; those that have one number for each element have the shape in which these are held.
        steps: How many steps they have trained.
        elements: Which they are; None for a part of another kind.
        variable: The part itself, where it is of another kind; None where that is not known.
        weight: The weight that they are of; None where only its address is known, from a file.
    """

    slots: Mapping[str, Array]
    steps: Steps
    elements: Elements | None = None
    variable: Any = None
    weight: weakref.ref[Any] | None = None

    def is_of(self, weight: Any) -> bool:
        """Whether they are of this very weight, as far as that is known."""
        return self.weight is None or self.weight() is weight

    def restricted_to(self, elements: Elements) -> ParkedSlots:
        """Return the same for some of its elements; slots that are not by element are left out."""
        assert self.elements is not None
        if same(elements, self.elements):
            return self
        place, shape = positions(self.elements, elements), self.elements.part_shape
        slots = {
            name: values[place].reshape(elements.part_shape)
            for name, values in self.slots.items()
            if values.shape == shape
        }
        steps = self.steps if isinstance(self.steps, int) else self.steps[place].reshape(elements.part_shape)
        return ParkedSlots(slots, one_number(steps), elements, weight=self.weight)


@dataclass(slots=True)
class Parking:
    """All records, by the address of the weight, or of the part where that is not elements of it."""

    records: dict[str, list[ParkedSlots]] = field(default_factory=dict)

    def park(self, address: str, variable: Any, slots: Mapping[str, Array], steps: Steps) -> None:
        """Keep the slots of a variable; what older records hold of the same elements is dropped.

        So are those of an update that was merged: another one that comes later begins anew.
        """
        elements = elements_of(variable)
        if elements is None and not _is_on_its_weight(variable):
            return
        key = _key(address, variable)
        whole = whole_weight(variable)
        older = [one for one in self.records.get(key, []) if elements is not None and one.is_of(whole)]
        part = variable if elements is None else None
        record = ParkedSlots(slots, steps, elements, part, weakref.ref(whole))
        self.records[key] = [*_outside(older, elements), record]

    def take(self, address: str, variable: Any) -> list[ParkedSlots]:
        """Return the records of what a variable holds, restricted to that, and keep them no longer."""
        key, elements = _key(address, variable), elements_of(variable)
        records = [one for one in self.records.pop(key, []) if one.is_of(whole_weight(variable))]
        if elements is None:
            return [one for one in records if one.variable is None or one.variable is variable]
        if rest := list(_outside(records, elements)):
            self.records[key] = rest
        return list(_inside(records, elements))

    def follow(self, addresses: Mapping[int, str]) -> None:
        """Bring records of weights that a model has to their addresses there, and drop those of others.

        Args:
            addresses: The address of every variable of the model, by `id`.
        """
        followed: dict[str, list[ParkedSlots]] = {}
        for key, several in self.records.items():
            for record in several:
                weight = record.weight() if record.weight is not None else None
                if weight is not None and id(weight) in addresses:
                    part = "" if record.elements is not None else key.rpartition(":")[2]
                    now = addresses[id(weight)] + (f":{part}" if part else "")
                    followed.setdefault(now, []).append(record)
        self.records = followed

    def belong_to(self, weights: Mapping[str, Any]) -> None:
        """Say which weights the records from a file are of, by address."""
        for key, several in self.records.items():
            if (weight := weights.get(key, weights.get(key.rpartition(":")[0]))) is not None:
                self.records[key] = [replace(one, weight=weakref.ref(weight)) for one in several]

    def to_arrays(self) -> dict[str, tuple[dict[str, Array], int]]:
        """Return each record by a name of its own: its slots and what else must be known, and its steps."""
        return {
            key if n == 0 else f"{key}@{n}": _to_arrays(record)
            for key, several in self.records.items()
            for n, record in enumerate(several)
        }

    @classmethod
    def from_arrays(cls, parked: Mapping[str, tuple[Mapping[str, Array], int]]) -> Parking:
        """Make it anew from what `to_arrays` returned."""
        records: dict[str, list[ParkedSlots]] = {}
        for name, (slots, steps) in parked.items():
            key, _, number = name.rpartition("@")
            # An address may end in "@1" itself; a second record always says which elements.
            key = key if number.isdigit() and _IDS in slots else name
            records.setdefault(key, []).append(_from_arrays(slots, steps))
        return cls(records)


def elements_of(variable: Any) -> Elements | None:
    """Return which elements of a weight a variable holds; None for a part of another kind."""
    if whole_weight(variable) is variable:
        return everything(tuple(int(n) for n in variable.shape))
    elements: Elements | None = getattr(variable, "frostline_elements", None)
    return elements


def fill(
    values: Mapping[str, Array], steps: Array, elements: Elements, records: Iterable[ParkedSlots]
) -> None:
    """Write the slots and the steps of records into arrays that are held in the shape of more elements."""
    for record in records:
        assert record.elements is not None
        place = positions(elements, record.elements)
        for name, one in record.slots.items():
            if name in values and one.size == record.elements.count:
                values[name][place] = one.reshape(values[name][place].shape)
        trained = record.steps
        steps[place] = trained if isinstance(trained, int) else trained.reshape(steps[place].shape)


def one_number(steps: Steps) -> Steps:
    """Return one number where all elements have it."""
    if isinstance(steps, int) or steps.size == 0:
        return steps if isinstance(steps, int) else 0
    first = int(steps.flat[0])
    return first if bool((steps == first).all()) else steps


_IDS, _SHAPE, _STEPS = "elements:ids", "elements:shape", "elements:steps"


def _to_arrays(record: ParkedSlots) -> tuple[dict[str, Array], int]:
    slots = dict(record.slots)
    elements = record.elements
    if elements is not None and not same(elements, everything(elements.shape)):
        slots[_IDS] = np.asarray(ids_of(elements), np.int64)
    if elements is not None:
        slots[_SHAPE] = np.asarray(elements.shape, np.int64)
    if isinstance(record.steps, int):
        return slots, record.steps
    return slots | {_STEPS: record.steps}, 0


def _from_arrays(packed: Mapping[str, Array], steps: int) -> ParkedSlots:
    slots = dict(packed)
    ids, shape, mixed = (slots.pop(name, None) for name in (_IDS, _SHAPE, _STEPS))
    elements = None
    if shape is not None:
        whole = tuple(int(n) for n in shape)
        elements = everything(whole) if ids is None else of_ids(whole, ids)
    return ParkedSlots(slots, steps if mixed is None else mixed, elements)


def _key(address: str, variable: Any) -> str:
    """Return the address of the weight for its elements, and that of the part for others."""
    whole = whole_weight(variable) is variable
    return address if whole or elements_of(variable) is None else address.rpartition(":")[0]


def _is_on_its_weight(part: Any) -> bool:
    """Whether a weight is still made of this part; one that was merged is not."""
    made_of = getattr(whole_weight(part), "combination", None)
    return made_of is not None and any(one is part for one in made_of.parts.values())


def _outside(records: Iterable[ParkedSlots], elements: Elements | None) -> Iterator[ParkedSlots]:
    for record in records:
        if record.elements is not None and elements is not None:
            rest = without(record.elements, elements)
            if rest is not None:
                yield record.restricted_to(rest)


def _inside(records: Iterable[ParkedSlots], elements: Elements) -> Iterator[ParkedSlots]:
    for record in records:
        both = common(record.elements, elements) if record.elements is not None else None
        if both is not None:
            yield record.restricted_to(both)
