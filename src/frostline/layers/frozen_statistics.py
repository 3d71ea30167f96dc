"""Batch normalization as a fixed affine map."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from frostline._keras.variables import to_numpy
from frostline.errors import LayerError
from frostline.layers._values import hold, real_array, starting_at

_NAMES = ("mean", "variance", "gamma", "beta")


@keras.saving.register_keras_serializable(package="frostline")
class FrozenStatistics(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Computes `gamma * (inputs - mean) / sqrt(variance + epsilon) + beta`, whatever `training` says.

    What `BatchNormalization` computes in inference mode, by the same operation, so to the same bits. It has
    no other mode: nothing counts batches, in whatever way it is called, unfrozen or saved. `from_layer` makes
    one from a `BatchNormalization` layer.

    Variables, each of the size along `axis`: `mean` and `variance`, held; `gamma` and `beta`, held, or
    trained with `train_affine`.

    Args:
        mean: The means to hold, an array of shape (size,). None where a weights file brings all values.
        variance: The variances, likewise.
        gamma: The scales, likewise; None for none.
        beta: The shifts, likewise; None for none.
        axis: The axis that has the features.
        epsilon: Added to the variance.
        train_affine: Whether gamma and beta train.
        scale: Whether there is a gamma; by default whether it is given.
        center: Whether there is a beta; by default whether it is given.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        Float of any shape of rank 2 or more.

    Output shape:
        That of the input. A mask passes unchanged.

    Raises:
        LayerError: The values differ in shape, are not finite, or a variance is below zero.

    Source:
        Ioffe and Szegedy, "Batch Normalization", ICML 2015, algorithm 2.

    Example:
        >>> import numpy as np
        >>> norm = keras.layers.BatchNormalization()
        >>> norm.build((None, 3))
        >>> frozen = FrozenStatistics.from_layer(norm)
        >>> x = np.ones((2, 3), "float32")
        >>> bool(ops.all(frozen(x, training=True) == norm(x, training=False)))
        True
    """

    statistics_are_constant = True

    def __init__(
        self,
        mean: Any,
        variance: Any,
        gamma: Any = None,
        beta: Any = None,
        *,
        axis: int = -1,
        epsilon: float = 1e-3,
        train_affine: bool = False,
        scale: bool | None = None,
        center: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise LayerError(
                "the axis of the features must be a whole number other than 0", received=repr(axis)
            )
        if not epsilon >= 0:
            raise LayerError("epsilon must be a number of 0 or more", received=repr(epsilon))
        self.axis = axis
        self.epsilon = float(epsilon)
        self.train_affine = train_affine
        self.scale = gamma is not None if scale is None else scale
        self.center = beta is not None if center is None else center
        self._given = _checked((mean, variance, gamma, beta))

    @classmethod
    def from_layer(
        cls, layer: Any, *, train_affine: bool = False, name: str | None = None
    ) -> FrozenStatistics:
        """Make one from a built `BatchNormalization` layer, which stays as it is.

        Args:
            layer: The layer.
            train_affine: Whether gamma and beta train.
            name: Name of the new layer; by default that of `layer`.

        Returns:
            A built layer with copies of its values.

        Raises:
            LayerError: It is another kind of layer, or not built.
        """
        if not isinstance(layer, keras.layers.BatchNormalization):
            raise LayerError(
                "frozen statistics are made from a BatchNormalization layer",
                received=f"an object of type {type(layer).__name__}",
            )
        if not layer.built:
            raise LayerError(
                f"the layer {layer.name!r} is not built, so it has no statistics yet",
                remedy="build it, or load the model's weights first",
            )
        held = (layer.moving_mean, layer.moving_variance, layer.gamma, layer.beta)
        values = [None if v is None else to_numpy(v) for v in held]
        made = cls(
            *values,
            axis=layer.axis,
            epsilon=layer.epsilon,
            train_affine=train_affine,
            name=name or layer.name,
            dtype=layer.dtype_policy,
        )
        shape: list[int | None] = [None] * layer.input_spec.ndim
        shape[layer.axis] = int(layer.moving_mean.shape[0])
        made.build(tuple(shape))
        return made

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the variables."""
        if not -len(input_shape) < self.axis < len(input_shape):
            raise LayerError(
                f"the layer {self.name!r} has no axis {self.axis}",
                received=f"an input of shape {input_shape}",
            )
        size = input_shape[self.axis]
        given = self._given["mean"]
        if size is None or (given is not None and given.shape != (size,)):
            raise LayerError(
                f"the statistics of the layer {self.name!r} do not fit its input",
                received=f"an input of shape {tuple(input_shape)}: {size} features along axis {self.axis}",
                expected=f"{len(given)} features" if given is not None else "a known number of features",
            )
        for name in ("gamma", "beta", "mean", "variance"):  # as BatchNormalization has them
            setattr(self, name, self._variable(name, (size,)))
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes={self.axis: size})
        self.built = True

    def _variable(self, name: str, shape: tuple[int, ...]) -> Any:
        if (name == "gamma" and not self.scale) or (name == "beta" and not self.center):
            return None
        values = self._given[name]
        if name in ("gamma", "beta") and self.train_affine:
            return self.add_weight(name=name, shape=shape, initializer=starting_at(values), autocast=False)
        return hold(self, name, shape, values, autocast=False)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Compute the output; see the class for shapes.

        `training` and `mask` are those of `BatchNormalization`, whose place this takes; neither matters.
        """
        # As BatchNormalization does: half precision overflows here.
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        mean, variance, gamma, beta = (
            None if (v := getattr(self, name)) is None else ops.cast(v, dtype) for name in _NAMES
        )
        normalized = ops.batch_normalization(
            ops.cast(inputs, dtype), mean, variance, self.axis, offset=beta, scale=gamma, epsilon=self.epsilon
        )
        return ops.cast(normalized, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, which has none of the values."""
        return {
            **super().get_config(),
            "mean": None,
            "variance": None,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "train_affine": self.train_affine,
            "scale": self.scale,
            "center": self.center,
        }


def _checked(values: tuple[Any, ...]) -> dict[str, Any]:
    expected = "arrays of one shape (size,)"
    arrays = {
        name: None if given is None else real_array(given, what=f"the {name}", expected=expected)
        for name, given in zip(_NAMES, values, strict=True)
    }
    if (arrays["mean"] is None) != (arrays["variance"] is None):
        raise LayerError(
            "mean and variance come together, or both with the weights file", received="one of them"
        )
    shapes = {name: array.shape for name, array in arrays.items() if array is not None}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        received = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise LayerError("the statistics do not fit together", received=received, expected=expected)
    if arrays["variance"] is not None and (arrays["variance"] < 0).any():
        raise LayerError(
            "a variance cannot be below zero", received=f"{arrays['variance'].min()} among the variances"
        )
    return arrays
