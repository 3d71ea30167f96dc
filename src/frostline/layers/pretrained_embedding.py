"""An embedding that starts from a given matrix: frozen, trained, or trained in some rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from frostline._keras.variables import to_numpy
from frostline.errors import LayerError
from frostline.layers._matrices import TEXT, read_matrix
from frostline.layers._rows import trained_rows
from frostline.layers._values import Array, hold, starting_at, whole_number
from frostline.layers.word_vectors import read_word_vectors


@keras.saving.register_keras_serializable(package="frostline")
class PretrainedEmbedding(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Looks up rows of a matrix that is given: word vectors, the table of another model.

    What `train` does not name is held: no plan trains it, and no optimizer has slots for it. Where some rows
    train, they are a small variable of their own and the layer looks up in both, so that a step costs what
    those rows cost, whatever the size of the table. To let a plan decide from phase to phase, make the layer
    with `train=True`: a plan freezes a table that can train, but does not train one that is held.

    Variables: `embeddings`, float of shape (rows, width), trained with `train=True` and held otherwise; where
    some rows train, `rows`, float of shape (trained rows, width), their values, and for rows that are not
    neighbours `row_ids`, which are int32 and held.

    Args:
        matrix: Array of shape (rows, width); or the path of a `.npy` file, of a safetensors file, or of a
            text file of word vectors (`.txt`, `.vec`). None where a weights file brings it; then `input_dim`
            and `output_dim` are needed.
        train: False for none; True for all; `"oov"` for the rows of words without a vector; or the rows: a
            slice, ints, or `rows` booleans that are true for the trained.
        vocabulary: For a text file: the word of each row, such as `StringLookup.get_vocabulary()`. By default
            the rows are those of the file; `fl.layers.read_word_vectors` tells their words.
        oov_rows: Rows to add at the end, for ids beyond those of the matrix.
        oov_initializer: How rows without a vector begin, both those of words of the vocabulary that the file
            lacks and those of `oov_rows`: `"mean"` of all vectors, or an initializer of Keras.
        mask_zero: Whether id 0 is padding, to be masked. Its row then begins as zeros if it has no vector,
            and does not count as out of vocabulary.
        tensor: Name of the tensor in a safetensors file that holds several.
        input_dim: Rows of the matrix, where `matrix` is None.
        output_dim: Its width, where `matrix` is None.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        Int of any shape, each from 0 to `rows - 1`.

    Output shape:
        Float of shape (*input shape, width), in the compute dtype. With `mask_zero` it carries a mask.

    Raises:
        LayerError: The matrix is none, or the rows to train lie outside it.
        MatrixFileError: The file cannot be read; the message names the line where there is one.

    Example:
        >>> layer = PretrainedEmbedding([[0.0, 1.0], [2.0, 3.0]], oov_rows=1, train="oov")
        >>> print(ops.convert_to_numpy(layer(np.array([0, 2]))))
        [[0. 1.]
         [1. 2.]]
        >>> [(v.name, tuple(v.shape)) for v in layer.trainable_variables]
        [('rows', (1, 2))]
    """

    statistics_are_constant = True

    def __init__(
        self,
        matrix: Any,
        *,
        train: Any = False,
        vocabulary: Sequence[str] | None = None,
        oov_rows: int = 0,
        oov_initializer: Any = "mean",
        mask_zero: bool = False,
        tensor: str | None = None,
        input_dim: int | None = None,
        output_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # ids may be given as floats, which half precision would change
        self.supports_masking = True
        self.mask_zero = mask_zero
        self.oov_rows = whole_number(oov_rows, what="oov_rows", least=0)
        if oov_initializer != "mean":
            oov_initializer = keras.initializers.get(oov_initializer)
        self.oov_initializer = oov_initializer
        table: Array | None = None
        missing: tuple[int, ...] = ()
        if matrix is None:
            self.input_dim = whole_number(input_dim, what="input_dim, where matrix is None,")
            self.output_dim = whole_number(output_dim, what="output_dim, where matrix is None,")
        else:
            given, missing = _read(matrix, vocabulary, tensor)
            self.input_dim, self.output_dim = _sizes(given, input_dim, output_dim)
            table = self._with_new_rows(given, missing)
            missing = tuple(row for row in missing if not self._is_padding(row))
        added = tuple(range(self.input_dim, self.input_dim + self.oov_rows))
        self.out_of_vocabulary = (*missing, *added)
        """The rows that began without a vector; known where the layer was made from a matrix."""
        self._rows = trained_rows(train, self.input_dim + self.oov_rows, self.out_of_vocabulary)
        # At once, as keras.layers.Embedding does with weights: so the matrix need not be kept twice.
        self._make(table)
        self.built = True

    def _is_padding(self, row: int) -> bool:
        return self.mask_zero and row == 0

    def _with_new_rows(self, given: Array, missing: tuple[int, ...]) -> Array:
        """Return the matrix with rows in place of what it lacks."""
        if not missing and not self.oov_rows:
            return given
        table = np.concatenate([given, np.zeros((self.oov_rows, given.shape[1]), given.dtype)])
        table = table if table.dtype.kind == "f" else table.astype("float32")
        new = [row for row in (*missing, *range(len(given), len(table))) if not self._is_padding(row)]
        if self.oov_initializer == "mean":
            known = np.setdiff1d(np.arange(len(given)), missing)
            if len(known) and new:
                table[new] = given[known].mean(axis=0, dtype="float64")
        elif new:
            drawn = self.oov_initializer((len(new), given.shape[1]), dtype="float32")
            table[new] = to_numpy(drawn)
        return table

    def build(self, input_shape: Any = None) -> None:
        """Make nothing: the variables exist since the layer was made."""
        self.built = True

    def _make(self, table: Array | None) -> None:
        shape = (self.input_dim + self.oov_rows, self.output_dim)
        rows = self._rows
        if rows.kind == "all":
            self._table = self.add_weight(
                name="embeddings", shape=shape, initializer=starting_at(table), autocast=False
            )
            return
        self._table = hold(self, "embeddings", shape, table, autocast=False)
        if not rows.some:
            return
        ids = rows.ids if rows.kind == "list" else slice(rows.start, rows.start + rows.count)
        values = None if table is None else np.asarray(table[ids])
        self._trained = self.add_weight(
            name="rows", shape=(rows.count, shape[1]), initializer=starting_at(values), autocast=False
        )
        self._row_ids = None
        if rows.kind == "list":
            self._row_ids = hold(self, "row_ids", (rows.count,), rows.ids, dtype="int32")

    @property
    def embeddings(self) -> Any:
        """The whole matrix with the trained rows in it, as a tensor of shape (rows, width)."""
        if not self._rows.some:
            return ops.convert_to_tensor(self._table)
        ids = ops.arange(self._rows.start, self._rows.start + self._rows.count, dtype="int32")
        ids = ids if self._row_ids is None else ops.convert_to_tensor(self._row_ids)
        return ops.scatter_update(
            ops.convert_to_tensor(self._table), ops.expand_dims(ids, -1), ops.convert_to_tensor(self._trained)
        )

    def call(self, inputs: Any) -> Any:
        """Look up; see the class for shapes."""
        ids = inputs
        if keras.backend.standardize_dtype(ids.dtype) not in ("int32", "int64"):
            ids = ops.cast(ids, "int32")
        found = ops.take(self._table, ids, axis=0)
        if self._rows.some:
            trained, place = self._rows.places(ids, self._row_ids, self.input_dim + self.oov_rows)
            values = ops.take(self._trained, place, axis=0)
            found = ops.where(ops.expand_dims(trained, -1), values, found)
        return ops.cast(found, self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return which ids are not padding, or the mask of the ids."""
        return ops.not_equal(inputs, 0) if self.mask_zero else previous_mask

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, which has neither the matrix nor a list of rows."""
        mean = self.oov_initializer == "mean"
        return {
            **super().get_config(),
            "matrix": None,
            "train": self._rows.to_config(),
            "oov_rows": self.oov_rows,
            "oov_initializer": "mean" if mean else keras.initializers.serialize(self.oov_initializer),
            "mask_zero": self.mask_zero,
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
        }


def _read(matrix: Any, vocabulary: Sequence[str] | None, tensor: str | None) -> tuple[Array, tuple[int, ...]]:
    """Return the matrix, and the rows that have no vector."""
    text = isinstance(matrix, str | Path) and Path(matrix).suffix in TEXT
    if not text and vocabulary is not None:
        raise LayerError(
            "a vocabulary goes with a text file of word vectors",
            received=f"the matrix {str(matrix)!r}" if isinstance(matrix, str | Path) else "an array",
            remedy="order the rows of the matrix as your ids are, and leave vocabulary out",
        )
    if not text:
        return read_matrix(matrix, tensor=tensor), ()
    vectors = read_word_vectors(matrix, vocabulary)
    if len(vectors.missing) == len(vectors):
        raise LayerError(
            f"{str(matrix)!r} has none of the words of the vocabulary",
            received=f"{len(vectors):,} words, such as {vectors.words[0]!r}",
            expected="words spelt as in the file, upper and lower case alike",
        )
    return vectors.matrix, vectors.missing


def _sizes(given: Array, rows: int | None, width: int | None) -> tuple[int, int]:
    expected = (given.shape[0] if rows is None else rows, given.shape[1] if width is None else width)
    if given.shape != expected:
        raise LayerError(
            "the matrix has another shape than asked for", received=f"{given.shape}", expected=f"{expected}"
        )
    return int(given.shape[0]), int(given.shape[1])
