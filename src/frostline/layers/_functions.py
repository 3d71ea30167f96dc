"""Functions of tensors that layers are given: by name, as they are, or as a layer; and how they are saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from frostline.errors import LayerError, listed, near

Function = Callable[[Any], Any]


def function_of(identifier: Any, *, what: str, own: Mapping[str, Function] | None = None) -> Function:
    """Return the function for a name, a function, a layer, or what `function_config` made of one.

    Args:
        identifier: The name of a function of `keras.ops` or `keras.activations`, or one registered with
            `keras.saving.register_keras_serializable` (`package>name`); a function; a layer.
        what: The argument, for messages.
        own: Names of the layer's own, which come first.
    """
    if isinstance(identifier, dict):
        return _deserialized(identifier, what)
    if isinstance(identifier, str):
        return _named(identifier, what, own or {})
    if callable(identifier) and not isinstance(identifier, type):
        function: Function = identifier
        return function
    raise LayerError(
        f"{what} is not a function of a tensor",
        received=f"an object of type {type(identifier).__name__}",
        expected="the name of a function of keras.ops, a function, or a layer",
    )


def function_config(function: Function, *, what: str, own: Mapping[str, Function] | None = None) -> Any:
    """Return the name by which `function_of` finds a function again, or the configuration of a layer.

    Raises:
        LayerError: The function has no name that a file could hold.
    """
    for name, known in (own or {}).items():
        if known is function:
            return name
    name = str(getattr(function, "__name__", ""))
    if function in (getattr(keras.ops, name, None), getattr(keras.activations, name, None)):
        return name
    if isinstance(function, keras.layers.Layer):
        return keras.saving.serialize_keras_object(function)
    registered = keras.saving.get_registered_name(function)
    if keras.saving.get_registered_object(registered) is function:
        return registered
    raise LayerError(
        f"{what} cannot be saved: nothing tells Keras how to find it again",
        received=f"the function {name or type(function).__name__!r}",
        expected="a function of keras.ops, or a registered one",
        remedy="put @keras.saving.register_keras_serializable('your_package') above a named function",
    )


def _named(name: str, what: str, own: Mapping[str, Function]) -> Function:
    found = own.get(name)
    for home in (keras.ops, keras.activations):
        if found is None and not name.startswith("_"):
            found = getattr(home, name, None)
    if found is None:
        found = keras.saving.get_registered_object(name)
    if found is None or not callable(found):
        known = {*own, *(n for n in (*dir(keras.ops), *dir(keras.activations)) if not n.startswith("_"))}
        close = near(name, known)
        raise LayerError(
            f"{what} names an unknown function",
            received=repr(name),
            expected="the name of a function of keras.ops or keras.activations, or of a registered one",
            remedy=f"did you mean {listed(close)}?" if close else None,
        )
    function: Function = found
    return function


def _deserialized(config: dict[str, Any], what: str) -> Function:
    layer = keras.saving.deserialize_keras_object(config)
    if not callable(layer):
        raise LayerError(f"{what} is not a function of a tensor", received=f"a {type(layer).__name__}")
    function: Function = layer
    return function


def shape_of(function: Function, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Return the shape of a function's result for an input of a shape.

    Raises:
        LayerError: The function does not take such an input, or does not give one tensor.
    """
    layer = function if isinstance(function, keras.layers.Layer) else keras.layers.Lambda(function)
    try:
        return tuple(layer.compute_output_shape(shape))
    except (TypeError, ValueError, NotImplementedError) as error:
        name = getattr(function, "__name__", type(function).__name__)
        # Lambda hides what went wrong behind a sentence of its own.
        cause = error.__context__ or error
        raise LayerError(
            f"the function {name!r} gives no result for an input of shape {shape}",
            received=f"{type(cause).__name__}: {(str(cause).splitlines() or [''])[0]}",
            expected="a function of one tensor that gives one tensor",
        ) from error
