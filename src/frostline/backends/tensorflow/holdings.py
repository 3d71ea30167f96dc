"""What a Keras layer holds on TensorFlow beside its variables: variables and modules of TensorFlow's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from frostline.backends.held_state import NOTHING, HeldRole, HeldState, Holdings, joined

_TABLES = (tf.lookup.experimental.MutableHashTable, tf.lookup.experimental.DenseHashTable)

_PLAIN = frozenset({type(None), bool, int, float, str, keras.Variable})
"""What most attributes are, and hold nothing of TensorFlow's own."""


class RawVariable(HeldState):
    """A `tf.Variable` that a layer holds by itself."""

    @property
    def key(self) -> int:
        """The variable's id."""
        return id(self.holder)

    @property
    def value(self) -> Any:
        """Its tensor."""
        return self.holder.read_value()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(int(n) for n in self.value.shape)

    @property
    def dtype(self) -> str:
        """Its dtype."""
        return str(self.holder.dtype.name)

    def read_array(self) -> npt.NDArray[Any]:
        """Return the values."""
        return np.asarray(self.value)

    def assign(self, value: Any) -> None:
        """Assign a value."""
        self.holder.assign(tf.cast(tf.convert_to_tensor(value), self.holder.dtype))


def of_layer(layer: Any) -> Holdings:
    """Return what a layer holds."""
    found, refused = [], []
    for name, value in _attributes(layer):
        for path, one, role in _in(value, name, set()):
            if why := _unreadable(one):
                refused.append(f"{path} ({why})")
            elif not isinstance(one, _TABLES):
                found.append((path, RawVariable(one, path, role)))
    return Holdings(tuple(found), refused=tuple(refused)) if found or refused else NOTHING


def keep(layer: Any) -> Callable[[], None]:
    """Return a function that gives back to what a layer holds the values of now."""
    kept = [(state, state.read_array().copy()) for _, state in of_layer(layer).states]

    def put_back() -> None:
        for state, value in kept:
            if not np.array_equal(state.read_array(), value):
                state.assign(value)

    return put_back


def _attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds by name, but for what Keras and TensorFlow keep on it for themselves."""
    for name, value in vars(owner).items():
        if not name.startswith(("_self_", "_frostline", "_tracker", "_tf_trackable")):
            yield name, value


def _in(value: Any, path: str, above: set[int]) -> Iterator[tuple[str, Any, HeldRole]]:
    """Yield the variables and tables in a value, by the names on the way to them."""
    if type(value) in _PLAIN or id(value) in above or isinstance(value, keras.Variable | keras.Layer):
        return
    above = above | {id(value)}
    if isinstance(value, tf.Variable | _TABLES[0] | _TABLES[1]):
        yield path, value, "statistic"
    elif isinstance(value, tf.random.Generator):
        yield joined(path, "state"), value.state, "seed"
    elif isinstance(value, tf.Module):
        for name, one in _attributes(value):
            yield from _in(one, joined(path, name), above)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _in(one, joined(path, str(key)), above)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _in(one, joined(path, str(number)), above)


def _unreadable(value: Any) -> str:
    """Say why the numbers of a variable or a table cannot be read and written; empty where they can."""
    if isinstance(value, _TABLES):
        return "a lookup table that can change"
    if not (value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_bool):
        return f"a tf.Variable of dtype {value.dtype.name}"
    if not value.is_initialized():
        return "a tf.Variable without a value"
    return ""
