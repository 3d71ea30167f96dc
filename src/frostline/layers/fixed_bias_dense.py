"""A dense layer whose kernel trains and whose bias is held at a value."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from frostline.errors import LayerError
from frostline.layers._values import (
    activation_of,
    hold,
    kernel_initializer_of,
    real_array,
    whole_number,
)


@keras.saving.register_keras_serializable(package="frostline")
class FixedBiasDense(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Computes `activation(inputs @ kernel + bias)`: the kernel trains, the bias is held.

    Variables: `kernel`, float of shape (inputs, units), trained; `bias`, float of shape (units,), held.

    Args:
        units: Size of the output.
        bias: The number or the `units` numbers to hold. None where a weights file brings them.
        activation: Name of a Keras activation, or a function; None for none.
        kernel_initializer: As of `keras.layers.Dense`; by default the one that
            `fl.recommended_initializer(activation)` names.
        kernel_regularizer: As of `keras.layers.Dense`.
        kernel_constraint: As of `keras.layers.Dense`.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        Float of shape (batch, ..., inputs).

    Output shape:
        Float of shape (batch, ..., units). A mask passes unchanged.

    Raises:
        LayerError: `bias` has another shape, or an argument is not what it should be.

    Example:
        >>> import numpy as np
        >>> layer = FixedBiasDense(2, bias=[1.0, -1.0])
        >>> print(np.asarray(ops.convert_to_numpy(layer(np.zeros((1, 3), "float32")))))
        [[ 1. -1.]]
    """

    statistics_are_constant = True

    def __init__(
        self,
        units: int,
        bias: Any = 0.0,
        *,
        activation: Any = None,
        kernel_initializer: Any = None,
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = whole_number(units, what="units")
        self.activation = activation_of(activation)
        self.kernel_initializer = kernel_initializer_of(kernel_initializer, self.activation)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self._bias_values = None if bias is None else _bias_values(bias, self.units)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernel and the bias."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = hold(self, "bias", (self.units,), self._bias_values)
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Compute the output; see the class for shapes."""
        return self.activation(ops.add(ops.matmul(inputs, self.kernel), self.bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration; of the bias it has a single number only."""
        one = self._bias_values is not None and self._bias_values.ndim == 0
        return {
            **super().get_config(),
            "units": self.units,
            "bias": self._bias_values.item() if one else None,  # type: ignore[union-attr]
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


def _bias_values(bias: Any, units: int) -> Any:
    expected = f"a number, or {units} numbers, one for each unit"
    values = real_array(bias, what="the bias", expected=expected)
    if values.shape not in ((), (units,)):
        raise LayerError(
            "the bias does not fit the layer", received=f"shape {values.shape}", expected=expected
        )
    return values
