"""A layer with a forward pass that has no derivative, and a chosen one in its place."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from frostline.errors import LayerError
from frostline.layers._functions import function_config, function_of, shape_of
from frostline.layers._identity import is_float, with_gradient_of


def step(x: Any) -> Any:
    """Return 1 where `x` is above 0, else 0."""
    return ops.cast(ops.greater(x, 0), x.dtype)


def one_hot(x: Any) -> Any:
    """Return 1 at the largest element along the last axis, else 0."""
    return ops.one_hot(ops.argmax(x, axis=-1), x.shape[-1], dtype=x.dtype)


def identity(x: Any) -> Any:
    """Return `x`."""
    return x


FORWARD = {"step": step, "one_hot": one_hot}
BACKWARD = {"identity": identity, "clipped": ops.hard_tanh}


@keras.saving.register_keras_serializable(package="frostline")
class StraightThrough(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Computes `forward(x)` to the bit; the gradient that comes back is that of `backward(x)`.

    Args:
        forward: What has no derivative, or the wrong one: `"step"`, `"one_hot"` (of the largest element along
            the last axis), the name of a function of `keras.ops` (`"round"`, `"sign"`, `"floor"`), a
            function, or a layer.
        backward: Whose derivative to take: `"identity"` (1 everywhere), `"clipped"` (1 from -1 to 1, else 0),
            the name of a differentiable function (`"tanh"`, `"softmax"`), a function, or a layer. It must
            keep to the shape of `forward`.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        Float of any shape that the functions take.

    Output shape:
        That of `forward`'s result, in the layer's compute dtype. A mask passes unchanged.

    Raises:
        LayerError: A name is unknown, or on building the two results differ in shape.

    Source:
        Identity: Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic
            Neurons for
        Conditional Computation", 2013. Clipped: Hubara, Courbariaux, Soudry, El-Yaniv and Bengio, "Binarized
        Neural Networks", NeurIPS 2016, equation 4.

    Example:
        >>> import numpy as np
        >>> layer = StraightThrough("sign", backward="clipped")
        >>> print(ops.convert_to_numpy(layer(np.array([[-0.5, 2.0]], "float32"))))
        [[-1.  1.]]
    """

    def __init__(self, forward: Any, backward: Any = "identity", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.forward_function = function_of(forward, what="the forward function", own=FORWARD)
        self.backward_function = function_of(backward, what="the backward function", own=BACKWARD)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the layers among its parts."""
        for part in (self.forward_function, self.backward_function):
            if isinstance(part, keras.layers.Layer) and not part.built:
                part.build(input_shape)
        self.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return `forward(inputs)`, with the gradient of `backward(inputs)`."""
        hard = self.forward_function(inputs)
        if not is_float(inputs):
            return ops.cast(hard, self.compute_dtype)
        soft = self.backward_function(inputs)
        return with_gradient_of(ops.cast(hard, soft.dtype), soft)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        shapes = [
            shape_of(part, tuple(input_shape)) for part in (self.forward_function, self.backward_function)
        ]
        if shapes[0] != shapes[1]:
            raise LayerError(
                f"the functions of the layer {self.name!r} give results of different shapes",
                received=f"forward {shapes[0]}, backward {shapes[1]}",
                expected="one shape for both, since the gradient of one stands for that of the other",
            )
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        """Return the configuration.

        Raises:
            LayerError: A function has no name that a file could hold, as a lambda has none.
        """
        return {
            **super().get_config(),
            "forward": function_config(self.forward_function, what="the forward function", own=FORWARD),
            "backward": function_config(self.backward_function, what="the backward function", own=BACKWARD),
        }
