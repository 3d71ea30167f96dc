"""What stands before and after the blocks of a BERT encoder: embeddings and pooling.

The layers are registered with Keras: once this module is imported, `.keras` files that hold them
load without `custom_objects`.
"""

from __future__ import annotations

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
        >>> tuple(TokenEmbeddings(vocabulary=9, positions=4, width=6)(np.ones((2, 3), "int32")).shape)
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
        self.norm = named_norm(epsilon, "norm", self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def _table(self, rows: int, width: int, name: str) -> Any:
        return keras.layers.Embedding(
            rows,
            width,
            embeddings_initializer=bert_initializer(),
            name=name,
            dtype=self.dtype_policy,
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
        >>> tuple(MeanPooling()(np.ones((1, 2, 3), "float32"), mask=np.array([[1, 0]])).shape)
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


def bert_initializer() -> Any:
    """Return the distribution that BERT's own weights were drawn from."""
    return keras.initializers.TruncatedNormal(stddev=_INITIAL_SPREAD)


def named_dense(units: int, name: str, policy: Any) -> Any:
    """Return a dense layer with BERT's initial spread."""
    return keras.layers.Dense(units, kernel_initializer=bert_initializer(), name=name, dtype=policy)


def named_norm(epsilon: float, name: str, policy: Any) -> Any:
    """Return a layer normalization over the last axis."""
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name, dtype=policy)
