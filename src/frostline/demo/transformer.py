"""The transformer block of a BERT encoder.

The layers are registered with Keras: once this module is imported, `.keras` files that hold them
load without `custom_objects`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from frostline.demo.embedding import named_dense, named_norm


@keras.saving.register_keras_serializable(package="frostline")
class SelfAttention(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Multi-head scaled dot-product attention of a sequence to itself.

    `keras.layers.MultiHeadAttention` would compute the same. Here the four projections are plain
    `Dense` layers with kernels of shape (width, width), as BERT's checkpoints have them and as
    low-rank adapters in other libraries expect them.

    Args:
        heads: Number of attention heads; divides the width of the input.
        dropout: Rate of dropout of the attention weights while training.
        **kwargs: As of `keras.layers.Layer`.

    Call arguments:
        hidden: float of shape (batch, length, width).
        mask: bool or int of shape (batch, length); false for places not to be attended to. If not
            given, the mask that `hidden` carries, if any.
        training: Whether dropout is active.

    Returns:
        float of shape (batch, length, width).

    Raises:
        ValueError: On building, if the width is not a multiple of `heads`.

    Example:
        >>> import numpy as np
        >>> tuple(SelfAttention(heads=2)(np.ones((2, 3, 6), "float32")).shape)
        (2, 3, 6)
    """

    def __init__(self, *, heads: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.heads = heads
        self.dropout = dropout
        self.drop = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the four projections."""
        width = int(input_shape[-1] or 0)
        if width % self.heads:
            raise ValueError(
                f"The width must be a multiple of the number of heads, "
                f"received a width of {width} and {self.heads} heads."
            )
        # `Layer.output` is taken by Keras, hence another attribute name than the layer's own.
        self.query = named_dense(width, "query", self.dtype_policy)
        self.key = named_dense(width, "key", self.dtype_policy)
        self.value = named_dense(width, "value", self.dtype_policy)
        self.output_dense = named_dense(width, "output", self.dtype_policy)
        for projection in (self.query, self.key, self.value, self.output_dense):
            projection.build(input_shape)
        self.built = True

    def call(self, hidden: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Attend; see the class for shapes."""
        batch, length, width = ops.shape(hidden)
        by_head = (batch, length, self.heads, hidden.shape[-1] // self.heads)
        query = ops.reshape(self.query(hidden), by_head)
        key = ops.reshape(self.key(hidden), by_head)
        value = ops.reshape(self.value(hidden), by_head)
        scores = ops.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(by_head[-1])
        if mask is not None:
            allowed = ops.cast(mask, "bool")[:, None, None, :]
            scores = ops.where(allowed, scores, _lowest(scores))
        weights = self.drop(ops.softmax(scores, axis=-1), training=training)
        mixed = ops.einsum("bhqk,bkhd->bqhd", weights, value)
        return self.output_dense(ops.reshape(mixed, (batch, length, width)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="frostline")
class TransformerBlock(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """One block of BERT: attention and a feed-forward part, each added and then normalized.

    Args:
        heads: Number of attention heads; divides the width of the input.
        intermediate: Units of the hidden layer of the feed-forward part, with exact GELU.
        epsilon: What layer normalization adds to the variance.
        dropout: Rate of dropout while training, on attention weights and on both added parts.
        **kwargs: As of `keras.layers.Layer`.

    Call arguments:
        hidden: float of shape (batch, length, width).
        mask: bool or int of shape (batch, length); false for padding, which is not attended to.
        training: Whether dropout is active.

    Returns:
        float of shape (batch, length, width).

    Example:
        >>> import numpy as np
        >>> tuple(TransformerBlock(heads=2, intermediate=8)(np.ones((2, 3, 6), "float32")).shape)
        (2, 3, 6)
    """

    def __init__(
        self,
        *,
        heads: int,
        intermediate: int,
        epsilon: float = 1e-12,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.settings = {
            "heads": heads,
            "intermediate": intermediate,
            "epsilon": epsilon,
            "dropout": dropout,
        }
        policy = self.dtype_policy
        self.attention = SelfAttention(heads=heads, dropout=dropout, name="attention", dtype=policy)
        self.attention_norm = named_norm(epsilon, "attention_norm", policy)
        self.intermediate = named_dense(intermediate, "intermediate", policy)
        self.drop = keras.layers.Dropout(dropout, name="dropout", dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights of all sublayers."""
        # Made here and in this order, since the width is known only now and Keras lists weights
        # in the order in which layers are attached.
        self.output_dense = named_dense(int(input_shape[-1] or 0), "output", self.dtype_policy)
        self.output_norm = named_norm(self.settings["epsilon"], "output_norm", self.dtype_policy)
        for layer in (self.attention, self.attention_norm, self.intermediate, self.output_norm):
            layer.build(input_shape)
        self.output_dense.build((*input_shape[:-1], self.settings["intermediate"]))
        self.built = True

    def call(self, hidden: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Run the block; see the class for shapes."""
        attended = self.attention(hidden, mask=mask, training=training)
        hidden = self.attention_norm(hidden + self.drop(attended, training=training))
        widened = exact_gelu(self.intermediate(hidden))
        narrowed = self.drop(self.output_dense(widened), training=training)
        return self.output_norm(hidden + narrowed)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self.settings}


def exact_gelu(x: Any) -> Any:
    """Return `x` times the normal distribution's cumulative probability at `x`.

    On TensorFlow and JAX, `keras.ops.gelu(x, approximate=False)` goes through `erfc`; written with
    `erf` it takes half the time or less on a CPU. PyTorch has one fused operation for it, several
    times faster than the formula. The three agree within 1e-6.

    Args:
        x: float tensor of any shape.

    Returns:
        A tensor of the same shape and dtype.

    Example:
        >>> import keras
        >>> round(float(exact_gelu(keras.ops.ones(()))), 4)
        0.8413
    """
    if keras.config.backend() == "torch":
        return ops.gelu(x, approximate=False)
    return 0.5 * x * (1.0 + ops.erf(x / math.sqrt(2.0)))


def _lowest(scores: Any) -> float:
    # -1e9 is outside the range of float16, and an infinity would turn a fully padded row into NaN.
    return -3e4 if keras.backend.standardize_dtype(scores.dtype) == "float16" else -1e9
