"""Layers whose `build` makes no weights, seen from its code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

_MAKE = frozenset(
    (
        *("add_weight", "add_variable", "Variable", "SeedGenerator", "track_variable", "layers"),
        *("getattr", "setattr", "eval", "exec", "vars", "globals", "__import__"),
    )
)
"""Names by which `build` makes something that trains, moves, or holds what does, or may do anything."""

_HARMLESS = (
    *("numpy.", "math.", "copy.", "operator.", "itertools.", "functools."),
    *("keras.src.ops.", "keras.ops.", "keras.src.backend."),
)
"""Modules whose functions make no weights; those of a backend that do are among the names above."""

_PLAIN = (int, float, complex, str, bytes, bool, type(None), tuple, frozenset)


def makes_weights(layer: Any) -> bool:
    """Whether `build` of a layer may make weights or layers; True where its code does not show it."""
    own = inspect.unwrap(vars(layer).get("build", type(layer).build))  # Keras wraps each layer's
    if getattr(own, "__func__", own) is not inspect.unwrap(type(layer).build):
        return True
    return any(_may_make(layer, function, set()) for function in _builds(type(layer)))


def _builds(layer_class: type) -> Iterator[Any]:
    """Yield each `build` that may run: of the class and, where they call `super`, of its bases."""
    import keras

    for base in layer_class.__mro__:
        if base is keras.Layer:
            return
        if "build" in vars(base):
            yield vars(base)["build"]


def _may_make(layer: Any, function: Any, seen: set[Any]) -> bool:
    """Whether a function may make weights: it names what does, or calls what nobody can follow."""
    if not isinstance(function, FunctionType):
        return True
    if function in seen:
        return False
    seen.add(function)
    code = function.__code__
    names = set(_names(code))
    if names & _MAKE or set(code.co_freevars) - {"__class__"}:
        return True
    values = [function.__globals__[name] for name in names if name in function.__globals__]
    return any(_is_maker(layer, value, names, seen) for value in values) or any(
        _calls_maker(layer, name, seen) for name in names
    )


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_maker(layer: Any, value: Any, names: set[str], seen: set[Any]) -> bool:
    """Whether what a name of the module stands for may make weights."""
    import keras

    if isinstance(value, FunctionType):
        return _may_make(layer, value, seen)
    if isinstance(value, type):
        is_of_keras = value.__module__.startswith(("keras.", "builtins"))
        return issubclass(value, keras.Layer) or not is_of_keras
    if isinstance(value, ModuleType):
        if value in seen or f"{value.__name__}.".startswith(_HARMLESS):
            return False
        seen.add(value)
        used = (vars(value)[name] for name in names if name in vars(value))
        return any(_is_maker(layer, one, names, seen) for one in used)
    return not isinstance(value, _PLAIN)


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
