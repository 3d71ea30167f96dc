"""Layers that pass values on unchanged, and the primitive under those that change gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class PassesThrough(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """A layer without variables whose output has the values, shape, dtype and mask of its input."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make nothing."""
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def compute_output_spec(self, inputs: Any) -> Any:
        """Return the shapes and dtypes of the input; from the shape alone, integers would become floats."""
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), inputs)


def is_float(value: Any) -> bool:
    """Whether a tensor holds floats, and so can have a gradient."""
    return "float" in keras.backend.standardize_dtype(value.dtype)


def with_gradient(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return `value` to the bit; the gradient that comes back is `change(gradient)`."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def identity(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return change(_upstream(args, upstream))

        return ops.copy(x), gradient

    return identity(value)


def with_gradient_of(value: Any, source: Any) -> Any:
    """Return `value` to the bit; the gradient that comes back goes to `source`, a tensor of the same shape.

    The usual `source + stop_gradient(value - source)` rounds, and is NaN where `source` is infinite.
    """

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def second(x: Any, y: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            arrived = _upstream(args, upstream)
            return arrived, ops.zeros_like(arrived)

        return ops.copy(y), gradient

    return second(source, ops.stop_gradient(value))


def _upstream(args: tuple[Any, ...], upstream: Any) -> Any:
    """Return the gradient that arrives: TensorFlow and JAX hand it over by place, PyTorch by name."""
    return args[0] if upstream is None else upstream
