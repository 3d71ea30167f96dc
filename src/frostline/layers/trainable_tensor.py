"""A learned tensor on its own: a class token, positions, a temperature."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from frostline.errors import LayerError
from frostline.layers._values import activation_of, kernel_initializer_of, whole_number


@keras.saving.register_keras_serializable(package="frostline")
class TrainableTensor(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Gives a learned tensor, `activation(tensor + bias)`, once for each sample of its input.

    The input only tells the size of the batch, so that the output can be concatenated with, added to or
    multiplied with what belongs to the samples. Called without an input, it gives the tensor itself.

    Variables: `tensor`, float of the shape given, trained; `bias` likewise, where asked for.

    Args:
        shape: Shape of the tensor, without the batch; `()` for a number.
        initializer: Of the tensor; by default the one that `fl.recommended_initializer(activation)` names
            where there is an activation, and a truncated normal of standard deviation 0.02 where there is
            none.
        use_bias: Whether to add a second trained tensor of the same shape, which starts at zero.
        activation: Name of a Keras activation, or a function; None for none. `softplus` keeps a temperature
            above zero.
        regularizer: Of the tensor, as of `keras.layers.Dense`.
        constraint: Of the tensor, as of `keras.layers.Dense`.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        A tensor of any shape (batch, ...) and dtype, or a nest of them, of which the first counts; or
        nothing.

    Output shape:
        Float of shape (batch, *shape); without an input `shape`. It carries no mask.

    Raises:
        LayerError: `shape` is not a tuple of sizes, or the activation is unknown.

    Source:
        The default without an activation is that of BERT: Devlin, Chang, Lee and Toutanova, "BERT", NAACL
        2019.

    Example:
        >>> import numpy as np
        >>> token = TrainableTensor((1, 8))
        >>> patches = np.ones((2, 5, 8), "float32")
        >>> tuple(ops.concatenate([token(patches), patches], axis=1).shape)
        (2, 6, 8)
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        initializer: Any = None,
        *,
        use_bias: bool = False,
        activation: Any = None,
        regularizer: Any = None,
        constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(shape, tuple | list):
            raise LayerError(
                "the shape of a trainable tensor must be a tuple of sizes",
                received=repr(shape),
                expected="such as (1, 64), or () for a number",
            )
        self.supports_masking = True
        self.shape = tuple(whole_number(size, what="each size of the shape") for size in shape)
        self.use_bias = use_bias
        self.activation = activation_of(activation)
        if initializer is None and activation is None:
            initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.initializer = kernel_initializer_of(initializer, self.activation)
        self.regularizer = keras.regularizers.get(regularizer)
        self.constraint = keras.constraints.get(constraint)

    def build(self, input_shape: Any = None) -> None:
        """Make the tensor, and the bias where asked for."""
        self.tensor = self.add_weight(
            name="tensor",
            shape=self.shape,
            initializer=self.initializer,
            regularizer=self.regularizer,
            constraint=self.constraint,
        )
        self.bias = (
            self.add_weight(name="bias", shape=self.shape, initializer="zeros") if self.use_bias else None
        )
        self.built = True

    def call(self, inputs: Any = None) -> Any:
        """Return the tensor, once for each sample; see the class for shapes."""
        value = ops.convert_to_tensor(self.tensor)
        if self.bias is not None:
            value = ops.add(value, self.bias)
        value = self.activation(value)
        if inputs is None:
            return value
        batch = ops.shape(keras.tree.flatten(inputs)[0])[0]
        return ops.broadcast_to(value, (batch, *self.shape))

    def compute_mask(self, inputs: Any = None, previous_mask: Any = None) -> None:
        """Return None: the mask of the input is not that of the tensor."""

    def compute_output_shape(self, input_shape: Any = None) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        if input_shape is None:
            return self.shape
        first = input_shape
        while isinstance(first, dict) or isinstance(first[0], dict | tuple | list):
            first = first[min(first)] if isinstance(first, dict) else first[0]
        return (first[0], *self.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "initializer": keras.initializers.serialize(self.initializer),
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "constraint": keras.constraints.serialize(self.constraint),
        }
