"""Layers whose `build` makes no weights, seen from its code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

_MAKE = frozenset(
    (
        *("add_weight", "add_variable", "Variable", "SeedGenerator", "track_variable", "layers"),
        *("getattr", "setattr", "eval", "exec", "vars", "globals", "__import__"),
    )
)
"""Names by which `build` makes something that trains, moves, or holds what does, or may do anything."""


def makes_weights(layer: Any) -> bool:
    """Whether `build` of a layer may make weights or layers; True where its code does not show it."""
    return any(_may_make(layer, function, set()) for function in _builds(type(layer)))


def _builds(layer_class: type) -> Iterator[Any]:
    """Yield each `build` that may run: of the class and, where they call `super`, of its bases."""
    import keras

    for base in layer_class.__mro__:
        if base is keras.Layer:
            return
        if "build" in vars(base):
            yield inspect.unwrap(vars(base)["build"])


def _may_make(layer: Any, function: Any, seen: set[Any]) -> bool:
    if not isinstance(function, FunctionType):
        return True
    if function in seen:
        return False
    seen.add(function)
    names = set(_names(function.__code__))
    if names & _MAKE or (function.__closure__ is not None and "super" not in names):
        return True
    return any(
        _is_maker(layer, function.__globals__.get(name), seen) or _calls_maker(layer, name, seen)
        for name in names
    )


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_maker(layer: Any, value: Any, seen: set[Any]) -> bool:
    """Whether a name of the module is a class of layers, or a function that may make some."""
    import keras

    if isinstance(value, type):
        return issubclass(value, keras.Layer)
    return isinstance(value, FunctionType) and _may_make(layer, value, seen)


def _calls_maker(layer: Any, name: str, seen: set[Any]) -> bool:
    """Whether a name is a method, or a function kept on the layer, beside those of every layer."""
    import keras

    if name == "build" or hasattr(keras.Layer, name):
        return False
    method = inspect.getattr_static(type(layer), name, None)
    if isinstance(method, FunctionType):
        return _may_make(layer, method, seen)
    kept = vars(layer).get(name)
    return callable(kept) and not isinstance(kept, keras.Layer)
