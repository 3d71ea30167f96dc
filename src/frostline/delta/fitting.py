"""Whether a delta fits a model, and what it changes there: all worked out before one value is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from frostline import _keras
from frostline.address import Inventory, Weight
from frostline.delta.contents import Delta, Entry
from frostline.elements import Elements, Grid
from frostline.errors import DeltaError, FrostlineError, listed, near
from frostline.parametrization.base import Parametrization
from frostline.saving.aligning import aligned
from frostline.saving.describing import described, from_description
from frostline.saving.tensors import Array, numpy_dtype
from frostline.verification import digest_array


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
        return made_of is not None and self.how is not None and _same(made_of.how, self.how)

    def _write(self, values: Mapping[str, Array]) -> None:
        import keras

        variable = self.weight.variable
        if self.in_parts and self._carried():
            for name, value in values.items():
                self.weight.combination.parts[name].assign(value)
        elif self.elements is not None:
            (value,) = values.values()
            part = keras.ops.convert_to_tensor(value, dtype=self.weight.dtype)
            with _keras.uncast():
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


def change_for(weight: Weight, entry: Entry, custom_objects: Mapping[str, Any] | None) -> Change:
    """Work out what an entry does to a weight, without doing it.

    Raises:
        DeltaError: The entry cannot be used on this weight.
        ParametrizationError: Its parametrization is of a class that is not known here.
    """
    if entry.how is None:
        _require_shape(entry, entry.values[""], weight.shape)
        return Change(weight, None, False, None, entry.values, {"": _value(weight)})
    how = _parametrization(entry, custom_objects)
    elements = how.elements(weight.shape) if entry.kind == "elements" else None
    if elements is not None:
        for value in entry.values.values():
            _require_shape(entry, value, elements.part_shape)
    made_of = weight.combination
    if made_of is not None:
        if not _same(made_of.how, how):
            raise DeltaError(
                f"{weight.address!r} is parametrized otherwise than in the delta",
                received=f"{made_of.how} on the model, {how} in the delta",
                remedy="remove it from the model, or merge it, before the delta is loaded",
            )
        for name, part in made_of.parts.items():
            _require_shape(entry, entry.values[name], tuple(int(n) for n in part.shape))
        old = {name: _numpy(part) for name, part in made_of.parts.items()}
        return Change(weight, how, True, elements, entry.values, old)
    if elements is not None:
        return Change(weight, how, False, elements, entry.values, _taken(weight, elements, entry))
    merged = _combined(how, weight.variable, entry.values)
    _require_shape(entry, merged, weight.shape)
    return Change(weight, how, False, None, {"": merged}, {"": _value(weight)})


def for_model(delta: Delta, held: Inventory) -> Delta:
    """Return a delta with the addresses that this copy of its model has."""
    kinds = {w.address: _own_kind(w) for w in held if w.role in ("weight", "statistic")}
    return delta.renamed(aligned({a: (one.shape, one.dtype) for a, one in delta.base.items()}, kinds))


def require_fit(delta: Delta, held: Inventory, path: Path) -> None:
    """Check that the model has the weights that the delta changes.

    Raises:
        DeltaError: It has not; says which.
    """
    known = {w.address: w for w in held if w.role in ("weight", "statistic")}
    missing = [address for address in delta.entries if address not in known]
    if missing:
        close = near(missing[0], known)
        raise DeltaError(
            f"the delta {str(path)!r} is of another model, {delta.model!r}",
            received=f"it changes {listed(missing)}, which the model {held.model_name!r} does not have",
            remedy=f"did you mean a model with {listed(close)}?" if close else None,
        )
    other = [
        f"{address} ({_kind(entry.shape, entry.dtype)}, in the model {_kind(*_own_kind(known[address]))})"
        for address, entry in delta.entries.items()
        if (entry.shape, entry.dtype) != _own_kind(known[address])
    ]
    if other:
        raise DeltaError(
            f"the delta {str(path)!r} is of a model with weights of other shapes or dtypes",
            received=listed(other),
            expected="the model that training began with",
        )


def require_base(delta: Delta, held: Inventory, path: Path, present: Sequence[Change]) -> None:
    """Check that what the delta leaves as it is has the values that it was trained with.

    Args:
        delta: The delta.
        held: The model.
        path: The file, for the message.
        present: What deltas that are on the model changed.

    Raises:
        DeltaError: It has not; says where.
    """
    known = {w.address: w for w in held if w.role in ("weight", "statistic")}
    differ = [address for address in known if address not in delta.base]
    for address, wanted in delta.base.items():
        entry, weight = delta.entries.get(address), known.get(address)
        if weight is None or (wanted.shape, wanted.dtype) != _own_kind(weight):
            differ.append(address)
        elif entry is None or entry.kind != "whole":
            changes = [change for change in present if change.weight.address == address]
            expected = wanted.frozen if entry and entry.kind == "elements" else wanted.blake3
            if _digest(weight, entry, changes) != expected:
                differ.append(address)
    if differ:
        raise DeltaError(
            f"the delta {str(path)!r} was made for another base than the model {held.model_name!r}",
            received=f"these have other values than its base: {listed(differ)}",
            expected=f"the base {delta.base_digest[:16]}",
            remedy="load the model that training began with; to load it anyway: force=True, --another-base",
        )


def overlap(one: Entry, other: Entry | None) -> bool:
    """Whether two entries change the same element."""
    if other is None:
        return False
    if one.kind != "elements" or other.kind != "elements":
        return True
    first, second = (_elements(entry) for entry in (one, other))
    if isinstance(first, Grid) and isinstance(second, Grid):
        # Two grids cross unless some axis keeps them apart.
        return all(
            np.intersect1d(first.places[axis], second.places[axis]).size
            for axis in first.places.keys() & second.places.keys()
        )
    masks = [np.zeros(one.shape, bool), np.zeros(one.shape, bool)]
    for mask, elements in zip(masks, (first, second), strict=True):
        elements.fill(mask, True)
    return bool(np.logical_and(*masks).any())


def digest_without(values: Array, elements: Elements) -> str:
    """Return the digest of an array with zeros at some elements; whole rows need no copy of it."""
    if not (isinstance(elements, Grid) and set(elements.places) == {0} and values.flags.c_contiguous):
        values = values.copy()
        elements.fill(values, 0)
        return digest_array(values)
    digest, rows = blake3(max_threads=blake3.AUTO), np.asarray(elements.places[0])
    raw = values.reshape(len(values), -1).view(np.uint8)
    done = 0
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        first, after = int(run[0]), int(run[-1]) + 1
        digest.update(raw[done:first].reshape(-1).data)
        digest.update(bytes((after - first) * raw.shape[1]))
        done = after
    digest.update(raw[done:].reshape(-1).data)
    return digest.hexdigest()


def _digest(weight: Weight, entry: Entry | None, changes: Sequence[Change]) -> str:
    parametrized = entry is not None and entry.kind == "parts" and weight.combination is not None
    values = _keras.glimpse(weight.combination.base if parametrized else weight.variable)
    for change in changes:
        values = change.restore_in(values)
    return (
        digest_array(values)
        if entry is None or entry.kind == "parts"
        else digest_without(values, _elements(entry))
    )


def _parametrization(entry: Entry, custom_objects: Mapping[str, Any] | None) -> Parametrization:
    assert entry.how is not None
    try:
        how = from_description(entry.how, entry.places, custom_objects)
        how.check(entry.shape, entry.dtype)
    except FrostlineError:
        raise
    except (KeyError, TypeError, ValueError) as problem:
        raise DeltaError(
            f"what the delta says of {entry.address!r} cannot be read",
            received=f"{type(problem).__name__}: {problem}",
        ) from None
    return how


def _elements(entry: Entry) -> Elements:
    found = _parametrization(entry, None).elements(entry.shape)
    assert found is not None
    return found


def _same(one: Parametrization, other: Parametrization) -> bool:
    (first, arrays), (second, others) = described(one), described(other)
    if first == second and arrays.keys() == others.keys():
        return all(np.array_equal(arrays[name], others[name]) for name in arrays)
    return False


def _combined(how: Parametrization, base: Any, parts: Mapping[str, Array]) -> Array:
    import keras

    tensors = {name: keras.ops.convert_to_tensor(part) for name, part in parts.items()}
    with _keras.uncast():
        merged = how.combine(keras.ops.stop_gradient(base.value), tensors)
    return np.array(keras.ops.convert_to_numpy(merged))


def _taken(weight: Weight, elements: Elements, entry: Entry) -> dict[str, Array]:
    import keras

    with _keras.uncast():
        taken = elements.take(weight.variable.value)
    return {name: np.array(keras.ops.convert_to_numpy(taken)) for name in entry.values}


def _require_shape(entry: Entry, value: Array, wanted: tuple[int, ...]) -> None:
    if value.shape != wanted or (entry.kind != "parts" and value.dtype != numpy_dtype(entry.dtype)):
        raise DeltaError(
            f"the values for {entry.address!r} do not fit",
            received=_kind(value.shape, value.dtype.name),
            expected=_kind(wanted, entry.dtype),
        )


def _own_kind(weight: Weight) -> tuple[tuple[int, ...], str]:
    return weight.shape, weight.dtype


def _kind(shape: tuple[int, ...], dtype: str) -> str:
    return f"shape {shape}, {dtype}"


def _value(weight: Weight) -> Array:
    return weight.numpy().copy()


def _numpy(variable: Any) -> Array:
    import keras

    return np.array(keras.ops.convert_to_numpy(variable))
