"""The layers of a BERT encoder, registered so that `.keras` files load without custom objects."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

# The spread that BERT's own weights were drawn with.
_INITIAL_SPREAD = 0.02


@keras.saving.register_keras_serializable(package="frostline")
class TokenEmbeddings(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Word, position and token type embeddings, summed and normalized.

    All tokens are of type 0: the encoder reads one sentence at a time.

    Args:
        vocabulary: Number of word pieces.
        positions: The longest sequence, in word pieces.
        token_types: Number of rows of the token type table.
        width: Size of an embedding.
        epsilon: What layer normalization adds to the variance.
        dropout: Rate of dropout while training.
        **kwargs: As of `keras.layers.Layer`.

    Call arguments:
        token_ids: int32 of shape (batch, length).
        training: Whether dropout is active.

    Returns:
        float32 of shape (batch, length, width).

    Example:
        >>> import numpy as np
        >>> TokenEmbeddings(vocabulary=9, positions=4, width=6)(np.ones((2, 3), "int32")).shape
        (2, 3, 6)
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        positions: int,
        width: int,
        token_types: int = 2,
        epsilon: float = 1e-12,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = {
            "vocabulary": vocabulary,
            "positions": positions,
            "width": width,
            "token_types": token_types,
            "epsilon": epsilon,
            "dropout": dropout,
        }
        self.word = self._table(vocabulary, width, "word")
        self.position = self._table(positions, width, "position")
        self.token_type = self._table(token_types, width, "token_type")
        self.norm = _norm(epsilon, "norm", self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def _table(self, rows: int, width: int, name: str) -> Any:
        return keras.layers.Embedding(
            rows, width, embeddings_initializer=_initializer(), name=name, dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the three tables and the normalization."""
        for table in (self.word, self.position, self.token_type):
            table.build(input_shape)
        self.norm.build((*input_shape, self.settings["width"]))
        self.built = True

    def call(self, token_ids: Any, training: bool | None = None) -> Any:
        """Embed word pieces; see the class for shapes."""
        places = ops.arange(ops.shape(token_ids)[1], dtype="int32")
        hidden = self.word(token_ids) + self.position(places)
        hidden = hidden + self.token_type(ops.zeros_like(token_ids))
        return self.drop(self.norm(hidden), training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, length, width)."""
        return (*input_shape, int(self.settings["width"]))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self.settings}


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
        >>> SelfAttention(heads=2)(np.ones((2, 3, 6), "float32")).shape
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
        self.query = _dense(width, "query", self.dtype_policy)
        self.key = _dense(width, "key", self.dtype_policy)
        self.value = _dense(width, "value", self.dtype_policy)
        self.output_dense = _dense(width, "output", self.dtype_policy)
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
        >>> TransformerBlock(heads=2, intermediate=8)(np.ones((2, 3, 6), "float32")).shape
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
        self.attention_norm = _norm(epsilon, "attention_norm", policy)
        self.intermediate = _dense(intermediate, "intermediate", policy)
        self.drop = keras.layers.Dropout(dropout, name="dropout", dtype=policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights of all sublayers."""
        # Made here and in this order, since the width is known only now and Keras lists weights
        # in the order in which layers are attached.
        self.output_dense = _dense(int(input_shape[-1] or 0), "output", self.dtype_policy)
        self.output_norm = _norm(self.settings["epsilon"], "output_norm", self.dtype_policy)
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


@keras.saving.register_keras_serializable(package="frostline")
class MeanPooling(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """The mean over the real places of a sequence.

    Call arguments:
        hidden: float of shape (batch, length, width).
        mask: bool or int of shape (batch, length); false for places to leave out. A sequence
            without any real place gives zeros. If not given, all places count.

    Returns:
        float of shape (batch, width).

    Example:
        >>> import numpy as np
        >>> MeanPooling()(np.ones((1, 2, 3), "float32"), mask=np.array([[1, 0]])).shape
        (1, 3)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return nothing: a sequence's mask ends here."""

    def call(self, hidden: Any, mask: Any = None) -> Any:
        """Take the mean; see the class for shapes."""
        if mask is None:
            return ops.mean(hidden, axis=1)
        weights = ops.cast(mask, hidden.dtype)[:, :, None]
        count = ops.maximum(ops.sum(weights, axis=1), 1)
        return ops.sum(hidden * weights, axis=1) / count

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, width)."""
        return (input_shape[0], input_shape[-1])


def exact_gelu(x: Any) -> Any:
    """Return `x` times the normal distribution's cumulative probability at `x`.

    Written with `erf`, since `keras.ops.gelu(x, approximate=False)` goes through `erfc` on
    TensorFlow and JAX, which is not vectorized on their CPU backends.

    Args:
        x: float tensor of any shape.

    Returns:
        A tensor of the same shape and dtype.

    Example:
        >>> import keras
        >>> round(float(exact_gelu(keras.ops.ones(()))), 4)
        0.8413
    """
    return 0.5 * x * (1.0 + ops.erf(x / math.sqrt(2.0)))


def _initializer() -> Any:
    return keras.initializers.TruncatedNormal(stddev=_INITIAL_SPREAD)


def _dense(units: int, name: str, policy: Any) -> Any:
    return keras.layers.Dense(units, kernel_initializer=_initializer(), name=name, dtype=policy)


def _norm(epsilon: float, name: str, policy: Any) -> Any:
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name, dtype=policy)


def _lowest(scores: Any) -> float:
    # -1e9 is outside the range of float16, and an infinity would turn a fully padded row into NaN.
    return -3e4 if keras.backend.standardize_dtype(scores.dtype) == "float16" else -1e9
