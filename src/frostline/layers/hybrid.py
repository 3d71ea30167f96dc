"""A layer that puts stopped functions of a live branch beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from frostline.errors import LayerError
from frostline.layers._functions import Function, function_config, function_of, shape_of


@keras.saving.register_keras_serializable(package="frostline")
class Hybrid(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Concatenates a live branch `z` with functions of it that no gradient passes: `[z, f(z), g(z), ...]`.

    What follows learns from all of them; what made `z` learns through the live branch alone. `z` is the
    input, or `live(input)`. Nothing inside a stopped function trains, be it a layer with weights of its own:
    freeze those.

    Args:
        functions: One or more functions of `z`: names of functions of `keras.ops` or `keras.activations`
            (`"square"`, `"sign"`), functions, or layers. Each keeps the shape, but for the size along `axis`.
        live: A layer that makes the live branch from the input; None for the input itself.
        axis: The axis to concatenate along, batch not allowed.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        Float of shape (batch, ...), of any rank that has `axis`.

    Output shape:
        That of `z`, the sizes along `axis` added up. A mask passes; along its own axis it is repeated.

    Raises:
        LayerError: There is no function, a name is unknown, or on building the shapes do not fit.

    Example:
        >>> layer = Hybrid(["square", "sign"])
        >>> layer.compute_output_shape((None, 3))
        (None, 9)
    """

    def __init__(
        self, functions: Sequence[Any] | Any, *, live: Any = None, axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        given = list(functions) if isinstance(functions, list | tuple) else [functions]
        if not given:
            raise LayerError(
                "a hybrid layer needs a function to stop", received="none", expected="such as 'square'"
            )
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise LayerError(
                "the axis must be a whole number, and not that of the batch", received=repr(axis)
            )
        self.supports_masking = True
        self.axis = axis
        self.functions: list[Function] = [function_of(one, what="a function to stop") for one in given]
        self.live: Function | None = None if live is None else function_of(live, what="the live branch")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the layers among its parts."""
        shape = input_shape
        for part in (self.live, *self.functions):
            if isinstance(part, keras.layers.Layer) and not part.built:
                part.build(shape)
            if part is self.live:
                shape = self._live_shape(input_shape)
        self.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the live branch and the stopped functions side by side."""
        live = inputs if self.live is None else self.live(inputs)
        stopped = [ops.cast(ops.stop_gradient(one(live)), live.dtype) for one in self.functions]
        return ops.concatenate([live, *stopped], axis=self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the input, repeated where the axis is one of its own."""
        if previous_mask is None:
            return None
        axis = self.axis if self.axis > 0 else len(inputs.shape) + self.axis
        if axis >= len(previous_mask.shape):
            return previous_mask
        return ops.concatenate([previous_mask] * (1 + len(self.functions)), axis=axis)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        live = self._live_shape(input_shape)
        axis = self.axis if self.axis > 0 else len(live) + self.axis
        if not 0 < axis < len(live):
            raise LayerError(
                f"the layer {self.name!r} cannot concatenate along axis {self.axis}",
                received=f"a live branch of shape {live}",
                expected=f"an axis from 1 to {len(live) - 1}, or a negative one",
            )
        sizes = [live[axis]]
        for function in self.functions:
            shape = shape_of(function, live)
            if (*shape[:axis], *shape[axis + 1 :]) != (*live[:axis], *live[axis + 1 :]):
                raise LayerError(
                    f"a stopped function of the layer {self.name!r} does not fit next to its live branch",
                    received=f"shape {shape} beside {live}",
                    expected=f"shapes that differ along axis {self.axis} only",
                )
            sizes.append(shape[axis])
        known = [size for size in sizes if size is not None]
        return (*live[:axis], sum(known) if len(known) == len(sizes) else None, *live[axis + 1 :])

    def _live_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape) if self.live is None else shape_of(self.live, tuple(input_shape))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration.

        Raises:
            LayerError: A function has no name that a file could hold, as a lambda has none.
        """
        live = None if self.live is None else function_config(self.live, what="the live branch")
        return {
            **super().get_config(),
            "functions": [function_config(one, what="a stopped function") for one in self.functions],
            "live": live,
            "axis": self.axis,
        }
