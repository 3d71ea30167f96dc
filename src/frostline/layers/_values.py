"""Values given to layers: what they may be, and how they become variables that nothing trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.variables import to_numpy
from frostline.data.ranges import misfit
from frostline.errors import LayerError
from frostline.initializers import recommended_initializer

Array = npt.NDArray[Any]

_BLOCK = 1 << 22
"""How many numbers are looked at together when a matrix is searched for NaN and infinities."""


def hold(layer: Any, name: str, shape: tuple[int, ...], values: Array | float | None, **options: Any) -> Any:
    """Make a variable of a layer that nothing trains.

    Args:
        layer: The layer.
        name: Name of the variable.
        shape: Its shape.
        values: What it holds; None where the weights file brings it, which makes it NaN (0 for integers)
            until then.
        **options: As of `add_weight`.
    """
    return layer.add_weight(
        name=name, shape=shape, initializer=starting_at(values), trainable=False, **options
    )


def starting_at(values: Array | float | None) -> Callable[..., Any]:
    """Return an initializer that gives these values, of any size, without a configuration of its own."""

    def initializer(shape: tuple[int, ...], dtype: Any = None) -> Any:
        given = values
        if given is None:
            given = math.nan if "float" in keras.backend.standardize_dtype(dtype) else 0
        if isinstance(given, np.ndarray):
            _require_fitting(given, keras.backend.standardize_dtype(dtype))
        if isinstance(given, np.ndarray) and given.shape == tuple(shape):
            # A copy: PyTorch would train the array of the caller in its place.
            return keras.ops.convert_to_tensor(np.array(given, order="C"), dtype=dtype)
        return keras.ops.full(shape, given, dtype=dtype)

    return initializer


def _require_fitting(values: Array, dtype: str) -> None:
    if (found := misfit(values, dtype)) is not None:
        place, why = found
        raise LayerError(
            f"a number that a layer is given does not fit its dtype {dtype}",
            received=f"{values.reshape(-1)[place]:g}, number {place:,} of an array of shape {values.shape}",
            expected=f"{why}",
            remedy="scale the numbers, or give the layer a dtype that holds them",
        )


def real_array(values: Any, *, what: str, expected: str) -> Array:
    """Return numbers as an array, of whatever shape; refuse what is not real and finite.

    Args:
        values: A number, a nested list, an array, a tensor or a `keras.Variable`.
        what: The argument, for messages, such as `the bias`.
        expected: What it should have been, for messages.
    """
    try:
        array = np.asarray(
            to_numpy(values) if keras.ops.is_tensor(values) or _is_variable(values) else values
        )
    except ValueError:
        raise LayerError(f"{what} is not an array: its rows differ in length", expected=expected) from None
    if array.dtype.name == "bfloat16":
        array = array.astype("float32")
    if array.dtype.kind not in "fiu":
        raise LayerError(
            f"{what} does not hold real numbers",
            received=f"values of dtype {array.dtype}"
            if array.dtype != object
            else f"a {type(values).__name__}",
            expected=expected,
        )
    require_finite(array, what=what)
    return array


def _is_variable(values: Any) -> bool:
    return isinstance(values, keras.Variable)


def require_finite(array: Array, *, what: str, error: type[LayerError] = LayerError) -> None:
    """Refuse NaN and infinities, and say where the first one stands."""
    if array.dtype.kind != "f" or array.size == 0:
        return
    rows = array.reshape(1) if array.ndim == 0 else array
    step = max(1, _BLOCK // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), step):
        finite = np.isfinite(rows[start : start + step])
        if not finite.all():
            first, *rest = (int(n) for n in np.argwhere(~finite)[0])
            place = ", ".join(map(str, (start + first, *rest)))
            value = rows[(start + first, *rest)]
            raise error(
                f"{what} holds a number that is not finite",
                received=f"{value} at [{place}]" if array.ndim else str(value),
                expected="finite numbers throughout",
            )


def whole_number(value: Any, *, what: str, least: int = 1) -> int:
    """Return a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise LayerError(f"{what} must be a whole number", received=repr(value), expected=f"{least} or more")
    return int(value)


def activation_of(identifier: Any) -> Callable[..., Any]:
    """Return the activation function for a name, a function or a saved configuration."""
    if isinstance(identifier, str) and identifier not in _activation_names():
        recommended_initializer(identifier)  # says which names are near
    try:
        activation: Callable[..., Any] = keras.activations.get(identifier)
    except ValueError:
        raise LayerError(
            "this is not an activation",
            received=f"an object of type {type(identifier).__name__}",
            expected="the name of a Keras activation, a function, or None",
        ) from None
    return activation


def _activation_names() -> set[str]:
    return {name for name in dir(keras.activations) if not name.startswith("_")}


def kernel_initializer_of(identifier: Any, activation: Callable[..., Any]) -> Any:
    """Return the initializer asked for, or for None the one that suits the activation."""
    if identifier is None:
        return recommended_initializer(activation).make()
    return keras.initializers.get(identifier)
