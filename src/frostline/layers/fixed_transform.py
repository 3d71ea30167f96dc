"""A trained linear map, then a fixed matrix, then an activation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import ops

from frostline.errors import LayerError
from frostline.layers._matrices import read_matrix
from frostline.layers._values import activation_of, hold, kernel_initializer_of, whole_number


@keras.saving.register_keras_serializable(package="frostline")
class FixedTransform(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Computes `activation((inputs @ kernel + bias) @ matrix)`: kernel and bias train, the matrix is held.

    For outputs that must be mixtures of given vectors: a basis, a projection, a filter bank, class
    prototypes.

    Variables: `kernel`, float of shape (inputs, rows), and `bias`, float of shape (rows,), trained; `matrix`,
    float of shape (rows, columns), held.

    Args:
        matrix: The fixed matrix: an array of shape (rows, columns), or the path of a `.npy` or `.safetensors`
            file. None where a weights file brings it; then `shape` is needed.
        use_bias: Whether the trained map has a bias, in front of the matrix.
        activation: Name of a Keras activation, or a function, after the matrix; None for none.
        kernel_initializer: As of `keras.layers.Dense`; by default the one that
            `fl.recommended_initializer(activation)` names.
        kernel_regularizer: As of `keras.layers.Dense`.
        kernel_constraint: As of `keras.layers.Dense`.
        shape: Shape of the matrix, where `matrix` is None.
        tensor: Name of the tensor in a safetensors file that holds several.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        Float of shape (batch, ..., inputs).

    Output shape:
        Float of shape (batch, ..., columns). A mask passes unchanged.

    Raises:
        LayerError: `matrix` is not a matrix of finite numbers, or does not have the `shape` given.
        MatrixFileError: The file cannot be read.

    Example:
        >>> import numpy as np
        >>> layer = FixedTransform(np.eye(2, 5), activation="tanh")
        >>> tuple(layer(np.ones((4, 3), "float32")).shape)
        (4, 5)
        >>> [v.name for v in layer.trainable_variables]
        ['kernel', 'bias']
    """

    statistics_are_constant = True

    def __init__(
        self,
        matrix: Any,
        *,
        use_bias: bool = True,
        activation: Any = None,
        kernel_initializer: Any = None,
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        shape: tuple[int, int] | None = None,
        tensor: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.use_bias = use_bias
        self.activation = activation_of(activation)
        self.kernel_initializer = kernel_initializer_of(kernel_initializer, self.activation)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self._matrix_values = None if matrix is None else _values(matrix, tensor)
        self.shape = _shape(self._matrix_values, shape)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernel, the bias and the matrix."""
        rows, _ = self.shape
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], rows),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = (
            self.add_weight(name="bias", shape=(rows,), initializer="zeros") if self.use_bias else None
        )
        self.matrix = hold(self, "matrix", self.shape, self._matrix_values)
        self._matrix_values = None
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Compute the output; see the class for shapes."""
        mapped = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            mapped = ops.add(mapped, self.bias)
        return self.activation(ops.matmul(mapped, self.matrix))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return (*input_shape[:-1], self.shape[1])

    def get_config(self) -> dict[str, Any]:
        """Return the configuration; of the matrix it has the shape only."""
        return {
            **super().get_config(),
            "matrix": None,
            "shape": list(self.shape),
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


def _values(matrix: Any, tensor: str | None) -> Any:
    if isinstance(matrix, str | Path) and Path(matrix).suffix not in (".npy", ".safetensors"):
        raise LayerError(
            f"{str(matrix)!r} is not a file with a matrix", expected="an array, a .npy or a .safetensors file"
        )
    return read_matrix(matrix, tensor=tensor)


def _shape(values: Any, shape: Any) -> tuple[int, int]:
    if values is None and shape is None:
        raise LayerError(
            "the fixed matrix is missing",
            received="matrix=None without a shape",
            expected="an array or a file; or None and its shape, where a weights file brings the values",
        )
    if shape is None:
        return (int(values.shape[0]), int(values.shape[1]))
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise LayerError("the shape of the matrix must be two whole numbers", received=repr(shape))
    rows, columns = (whole_number(n, what="each side of the matrix") for n in shape)
    if values is not None and values.shape != (rows, columns):
        raise LayerError(
            "the fixed matrix has another shape", received=f"{values.shape}", expected=f"{(rows, columns)}"
        )
    return rows, columns
