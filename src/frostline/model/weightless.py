"""Layers whose `build` makes no weights, seen from its code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

_MAKE = frozenset(("add_weight", "add_variable", "Variable", "SeedGenerator", "track_variable", "layers"))
"""Names by which `build` makes something that trains, moves, or holds what does."""


def makes_weights(layer: Any) -> bool:
    """Whether `build` of a layer may make weights or layers; True where its code cannot be read."""
    kind = type(layer)
    return any(_may_make(kind, function, set()) for function in _builds(kind))


def _builds(layer_class: type) -> Iterator[Any]:
    """Yield each `build` that may run: of the class and, where they call `super`, of its bases."""
    import keras

    for base in layer_class.__mro__:
        if base is keras.Layer:
            return
        if "build" in vars(base):
            yield inspect.unwrap(vars(base)["build"])


def _may_make(layer_class: type, function: Any, seen: set[Any]) -> bool:
    if not isinstance(function, FunctionType):
        return True
    if function in seen:
        return False
    seen.add(function)
    names = set(_names(function.__code__))
    if names & _MAKE:
        return True
    return any(
        _is_layer_class(function.__globals__.get(name)) or _calls_maker(layer_class, name, seen)
        for name in names
    )


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_layer_class(value: Any) -> bool:
    import keras

    return isinstance(value, type) and issubclass(value, keras.Layer)


def _calls_maker(layer_class: type, name: str, seen: set[Any]) -> bool:
    """Whether a name is a method of the class, beside those of every layer, that may make weights."""
    import keras

    method = inspect.getattr_static(layer_class, name, None)
    if name == "build" or hasattr(keras.Layer, name) or not isinstance(method, FunctionType):
        return False
    return _may_make(layer_class, method, seen)
