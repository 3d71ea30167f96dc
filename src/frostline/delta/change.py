"""What a delta changes in each weight of a model: worked out before one value is written, and undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import uncast
from frostline._keras.variables import to_numpy
from frostline.delta.contents import Delta, Entry
from frostline.delta.tensor_checks import require_kinds
from frostline.elements.algebra import same
from frostline.elements.sets import Elements
from frostline.errors import DeltaError, FrostlineError, listed
from frostline.files.tensor_file import Array, numpy_dtype
from frostline.model.inventory import Weight
from frostline.parametrization.base import Parametrization, same_settings
from frostline.parametrization.selections import Selection
from frostline.parametrization.serialization import deserialize, is_own
from frostline.render.foreign import exact
from frostline.render.tables import count


@dataclass(frozen=True, slots=True)
class Change:
    """What a delta does to one weight of a model.

    Attributes:
        weight: The weight.
        how: The parametrization of elements or parts; None where all values are replaced.
        in_parts: Whether the weight carries that parametrization, and its parts get the values.
        elements: The elements that are replaced in a plain weight; None where all are.
        new: The values to write: by name of the part, or under `""`.
        old: What stood in their place.
    """

    weight: Weight
    how: Parametrization | None
    in_parts: bool
    elements: Elements | None
    new: Mapping[str, Array] = field(repr=False)
    old: Mapping[str, Array] = field(repr=False)

    def put_on(self) -> None:
        """Write the new values."""
        self._write(self.new)

    def take_off(self) -> None:
        """Write what stood there before."""
        self._write(self.old)

    @property
    def reversible(self) -> bool:
        """Whether what the old values belong to is still there."""
        return not self.in_parts or self.elements is not None or self._carried()

    def _carried(self) -> bool:
        made_of = self.weight.combination
        return made_of is not None and self.how is not None and _same(made_of.how, self.how, self.weight)

    def _write(self, values: Mapping[str, Array]) -> None:
        variable = self.weight.variable
        if self.in_parts and self._carried():
            for name, value in values.items():
                self.weight.combination.parts[name].assign(value)
        elif self.elements is not None:
            (value,) = values.values()
            part = keras.ops.convert_to_tensor(value, dtype=self.weight.dtype)
            with uncast():
                variable.assign(self.elements.put(variable.value, part))
        else:
            variable.assign(values[""])

    def restore_in(self, array: Array) -> Array:
        """Return an array of the weight's values as they would be without this change."""
        if self.elements is not None:
            (value,) = self.old.values()
            array = array.copy()
            self.elements.fill(array, value)
            return array
        if self.in_parts and self.how is not None:
            return _combined(self.how, self.weight.combination.base, self.old)
        return self.old[""]


@dataclass(frozen=True, slots=True)
class LoadedDelta:
    """A delta that is on a model.

    Attributes:
        name: What `remove_delta` calls it.
        path: Its file.
        delta: What is in it.
        forced: Whether it was loaded without asking for its base.
        rests_on: The names of the deltas on the model that it was trained on top of; they stay as long as it
            is there.
    """

    name: str
    path: Path
    delta: Delta = field(repr=False)
    forced: bool = False
    rests_on: tuple[str, ...] = ()
    _changes: tuple[Change, ...] = field(default=(), repr=False)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What it did to each weight, with the values that were there before."""
        return self._changes

    def __str__(self) -> str:
        size = f"{count(len(self.delta.entries), 'weight')}, {count(self.delta.size, 'number')}"
        on_top = f", on top of {listed(self.rests_on)}" if self.rests_on else ""
        return f"{exact(self.name)}: {size}{on_top}{', on another base' if self.forced else ''}"


def change_for(
    weight: Weight,
    entry: Entry,
    custom_objects: Mapping[str, Any] | None,
    part_base: Array | None = None,
    *,
    sealed_whole: bool = True,
) -> Change:
    """Work out what an entry does to a weight, without doing it.

    Args:
        weight: The weight.
        entry: What to do to it.
        custom_objects: Parametrizations of the caller's own, by name.
        part_base: What parts are combined with, where that is not what the weight has now.
        sealed_whole: Whether the file's digest is of dtypes and shapes too.

    Raises:
        DeltaError: The entry cannot be used on this weight.
        ParametrizationError: Its parametrization is of a class that is not known here.
    """
    if entry.how is None:
        if weight.combination is not None:
            raise _otherwise(weight, entry.what)
        _require_shape(entry, entry.values[""], weight.shape)
        return Change(weight, None, False, None, entry.values, {"": weight.numpy()})
    how = parametrization_of(entry, custom_objects)
    elements = how.elements(weight.shape) if entry.kind == "elements" else None
    if elements is not None:
        for value in entry.values.values():
            _require_shape(entry, value, elements.part_shape)
    if not (sealed_whole or is_own(entry.how)):
        require_kinds(entry, _kinds_of_parts(how, weight))
    made_of = weight.combination
    if made_of is not None:
        if not _same(made_of.how, how, weight):
            raise _otherwise(weight, str(how))
        for name, part in made_of.parts.items():
            _require_shape(entry, entry.values[name], tuple(int(n) for n in part.shape))
        old = {name: to_numpy(part) for name, part in made_of.parts.items()}
        return Change(weight, how, True, elements, entry.values, old)
    if elements is not None:
        return Change(weight, how, False, elements, entry.values, _taken(weight, elements, entry))
    merged = _combined(how, weight.variable if part_base is None else part_base, entry.values)
    _require_shape(entry, merged, weight.shape)
    return Change(weight, how, False, None, {"": merged}, {"": weight.numpy()})


def parametrization_of(entry: Entry, custom_objects: Mapping[str, Any] | None) -> Parametrization:
    """Return how an entry changes some elements, or combines parts.

    Raises:
        DeltaError: That cannot be read.
        ParametrizationError: It is of a class that is not known here.
    """
    assert entry.how is not None
    try:
        how = deserialize(entry.how, entry.places, custom_objects)
        how.check(entry.shape, entry.dtype)
    except FrostlineError:
        raise
    except (LookupError, TypeError, ValueError) as problem:
        raise DeltaError(
            f"what the delta says of {entry.address!r} cannot be read",
            received=f"{type(problem).__name__}: {problem}",
        ) from None
    return how


def kind_text(shape: tuple[int, ...], dtype: str) -> str:
    """Say a shape and a dtype."""
    return f"shape {shape}, {dtype}"


def _same(one: Parametrization, other: Parametrization, weight: Weight) -> bool:
    """Whether two parametrizations have the same parts, which mean the same."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Selection) and isinstance(other, Selection):
        return same(one.elements(weight.shape), other.elements(weight.shape))
    return same_settings(one, other)


def _otherwise(weight: Weight, what: str) -> DeltaError:
    return DeltaError(
        f"{weight.address!r} is parametrized differently from the delta",
        received=f"{weight.combination.how} on the model, {what} in the delta",
        remedy="remove it from the model, or merge it, before the delta is loaded",
    )


def _combined(how: Parametrization, base: Any, parts: Mapping[str, Array]) -> Array:
    tensors = {name: keras.ops.convert_to_tensor(part) for name, part in parts.items()}
    with uncast():
        value = keras.ops.convert_to_tensor(base) if isinstance(base, np.ndarray) else base.value
        merged = how.combine(keras.ops.stop_gradient(value), tensors)
    return to_numpy(merged)


def _kinds_of_parts(how: Parametrization, weight: Weight) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and dtype of each part that a parametrization begins with."""
    with uncast():
        parts = how.start(keras.ops.stop_gradient(weight.variable.value))
    arrays = {name: to_numpy(part) for name, part in parts.items()}
    return {name: (array.shape, array.dtype.name) for name, array in arrays.items()}


def _taken(weight: Weight, elements: Elements, entry: Entry) -> dict[str, Array]:
    with uncast():
        taken = elements.take(weight.variable.value)
    return {name: to_numpy(taken) for name in entry.values}


def _require_shape(entry: Entry, value: Array, wanted: tuple[int, ...]) -> None:
    if value.shape != wanted or (entry.kind != "parts" and value.dtype != numpy_dtype(entry.dtype)):
        raise DeltaError(
            f"the values for {entry.address!r} do not fit",
            received=kind_text(value.shape, value.dtype.name),
            expected=kind_text(wanted, entry.dtype),
        )
