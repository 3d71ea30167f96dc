"""Variables that a model holds and does not own: a copy of the model gets their values, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from frostline.model.inventory import Inventory

_LIBRARIES = ("keras", "jax", "tensorflow", "torch", "numpy", "builtins")
"""Objects of these are not looked into: what they hold is not what a layer of the user's keeps."""


def untracked_values_copied(original: Inventory, copied: Inventory) -> None:
    """Give the variables in the attributes of a copy's layers the values of those in the original's.

    Variables alone, wherever they hide: in lists, namespaces, objects, layers that Keras does not track.
    Numbers, arrays and tensors stay as the constructor of the copy made them.
    """
    met: set[int] = set()
    for node in original.layers:
        other = copied.layer_by_address.get(node.address)
        if other is not None:
            _copy(node.layer, other.layer, met)


def _copy(mine: Any, other: Any, met: set[int]) -> None:
    waiting = [(mine, other)]
    while waiting:
        one, twin = waiting.pop()
        if id(one) in met or one is twin or type(one) is not type(twin):
            continue
        met.add(id(one))
        if _is_variable(one):
            _assign(twin, one)
        else:
            waiting.extend(_pairs(one, twin))


def _pairs(one: Any, twin: Any) -> Iterator[tuple[Any, Any]]:
    mine, its = _parts(one), _parts(twin)
    return ((value, its[key]) for key, value in mine.items() if key in its)


def _parts(holder: Any) -> Mapping[Any, Any]:
    if isinstance(holder, Mapping):
        return holder
    if isinstance(holder, list | tuple):
        return dict(enumerate(holder))
    of_library = type(holder).__module__.partition(".")[0] in _LIBRARIES
    if of_library and not isinstance(holder, keras.Layer):
        return {}
    return dict(getattr(holder, "__dict__", {}))


def _is_variable(value: Any) -> bool:
    is_trained = keras.ops.is_tensor(value) and bool(getattr(value, "requires_grad", False))
    return isinstance(value, keras.Variable) or is_trained or callable(getattr(value, "assign_add", None))


def _assign(variable: Any, value: Any) -> None:
    if tuple(variable.shape) != tuple(value.shape):
        return
    if hasattr(variable, "assign"):
        variable.assign(value)
    else:
        variable.data.copy_(value.data)  # A parameter of PyTorch.
