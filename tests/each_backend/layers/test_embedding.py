"""`PretrainedEmbedding`: training equal to models written by hand, rows, words, files, misuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from safetensors.numpy import save_file

import frostline as fl
from frostline.errors import LayerError
from frostline.layers import PretrainedEmbedding
from helpers.layer_checks import (
    SAMPLES,
    array,
    assert_same_training,
    every_optimizer,
    exact,
    full_text,
    numbers,
    train_beside_twin,
)
from helpers.word_vectors import TABLE, WORDS

pytestmark = pytest.mark.every_backend

ROWS, WIDTH = 7, 3


def ids(*shape: int) -> np.ndarray:
    """Ids that take every row, the same at every call."""
    count = int(np.prod(shape))
    drawn = np.random.default_rng(3).permutation(np.arange(count) % ROWS)
    return drawn.reshape(shape).astype("int32")


# --- training ---------------------------------------------------------------------------------


@every_optimizer
def test_a_trained_table_trains_as_an_embedding(optimizer: str) -> None:
    matrix = numbers(ROWS, WIDTH)
    ours = PretrainedEmbedding(matrix, train=True)
    twin = keras.layers.Embedding(ROWS, WIDTH)
    found = train_beside_twin(
        ids(SAMPLES, 4), ours, twin, lambda: [(ours.trainable_variables[0], twin.embeddings)], optimizer
    )
    assert_same_training(found)
    assert matrix.tobytes() == numbers(ROWS, WIDTH).tobytes(), "the caller's array is not ours to train"


@every_optimizer
@pytest.mark.parametrize("rows", [[4, 5, 6], [1, 2, 6]], ids=["range", "list"])
def test_some_rows_train_as_a_table_split_by_hand(rows: list[int], optimizer: str) -> None:
    """The twin: a constant for the frozen rows, and a small Embedding fed by ids that NumPy translated."""
    matrix = numbers(ROWS, WIDTH)
    ours = PretrainedEmbedding(matrix, train=rows)
    twin = keras.layers.Embedding(len(rows), WIDTH)
    frozen = matrix.copy()
    frozen[rows] = 0

    place = np.zeros(ROWS, "int32")
    place[rows] = np.arange(len(rows))
    is_trained = np.isin(np.arange(ROWS), rows).astype("float32")

    def by_hand(x: Any) -> Any:
        inside = ops.expand_dims(ops.take(is_trained, x), -1)
        return ops.take(frozen, x, axis=0) + twin(ops.take(place, x)) * inside

    def pairs() -> Any:
        return [(ours.trainable_variables[0], twin.embeddings)]

    found = train_beside_twin(ids(SAMPLES, 4), ours, by_hand, pairs, optimizer)
    assert_same_training(found)
    merged = array(ours.embeddings)
    assert merged[rows].tobytes() == found[0][1].tobytes()
    others = [n for n in range(ROWS) if n not in rows]
    assert merged[others].tobytes() == matrix[others].tobytes()


def test_the_optimizer_holds_slots_of_the_trained_rows_only() -> None:
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), PretrainedEmbedding(numbers(ROWS, WIDTH), train=[0, 6], name="e")]
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    assert [tuple(v.shape) for v in model.trainable_variables] == [(2, WIDTH)]
    assert sum(tuple(v.shape) == (2, WIDTH) for v in model.optimizer.variables) == 2
    assert not any(tuple(v.shape) == (ROWS, WIDTH) for v in model.optimizer.variables)


def test_a_plan_can_freeze_a_table_and_train_it_later() -> None:
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            PretrainedEmbedding(numbers(ROWS, WIDTH), train=True, name="words"),
            keras.layers.Dense(2, name="head"),
        ]
    )
    model.compile("adam", "mse")
    x, y = ids(SAMPLES, 4), numbers(SAMPLES, 4, 2)
    first = fl.fit(model, fl.Plan().train("head/**"), x, y, verbose=0)
    assert first.verification.of("intact") == ("words/embeddings",)
    second = fl.fit(model, fl.Plan().train("**"), x, y, verbose=0)
    assert "words/embeddings" in second.verification.of("trained")


# --- which rows -------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    rows=st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS),
    dtype=st.sampled_from(["int32", "int64", "uint8", "float32"]),
    as_mask=st.booleans(),
)
def test_any_set_of_rows_is_looked_up_where_it_is_held(rows: set[int], dtype: str, as_mask: bool) -> None:
    """After setting the trained rows to new values, a lookup gives those, and the matrix everywhere else."""
    matrix = numbers(ROWS, WIDTH)
    train = np.isin(np.arange(ROWS), sorted(rows)) if as_mask else sorted(rows, reverse=True)
    layer = PretrainedEmbedding(matrix, train=train)
    (trained,) = layer.trainable_variables
    assert array(trained).tobytes() == matrix[sorted(rows)].tobytes()
    new = numbers(len(rows), WIDTH, seed=9)
    trained.assign(new)
    matrix[sorted(rows)] = new
    assert array(layer.embeddings).tobytes() == matrix.tobytes()
    looked = np.arange(ROWS).reshape(1, -1).astype(dtype)
    assert array(layer(looked)).tobytes() == matrix[None].tobytes()


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (slice(5, None), [5, 6]),
        (slice(-2, None), [5, 6]),
        (slice(0, None, 3), [0, 3, 6]),
        (range(2, 4), [2, 3]),
        ({6, 1}, [1, 6]),
        (np.array([3]), [3]),
    ],
    ids=str,
)
def test_ways_to_name_rows(train: Any, expected: list[int]) -> None:
    matrix = numbers(ROWS, WIDTH)
    (rows,) = PretrainedEmbedding(matrix, train=train).trainable_variables
    assert array(rows).tobytes() == matrix[expected].tobytes()


def test_rows_added_at_the_end_begin_as_asked() -> None:
    matrix = numbers(ROWS, WIDTH)
    mean = PretrainedEmbedding(matrix, oov_rows=2, train="oov")
    np.testing.assert_allclose(array(mean.embeddings)[ROWS:], [matrix.mean(0)] * 2, rtol=1e-6)
    assert mean.out_of_vocabulary == (7, 8)
    zeros = PretrainedEmbedding(matrix, oov_rows=1, oov_initializer="zeros")
    assert array(zeros.embeddings)[ROWS:].tolist() == [[0.0] * WIDTH]
    drawn = PretrainedEmbedding(matrix, oov_rows=2, oov_initializer=keras.initializers.RandomNormal(seed=1))
    assert np.ptp(array(drawn.embeddings)[ROWS:]) > 0
    copy = PretrainedEmbedding.from_config(drawn.get_config())
    assert isinstance(copy.oov_initializer, keras.initializers.RandomNormal)


def test_half_precision_does_not_confuse_ids() -> None:
    matrix = numbers(3_000, 2)
    layer = PretrainedEmbedding(matrix, dtype="mixed_bfloat16")
    found = exact(ops.cast(layer(np.array([2_049.0, 2_999.0], "float32")), "float32"))
    np.testing.assert_allclose(found, matrix[[2_049, 2_999]], rtol=1e-2)


# --- where the matrix comes from --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "list", "tensor", "npy", "safetensors", "txt", "vec"])
def test_sources(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"matrix.{kind}"
    given: Any = path
    match kind:
        case "array":
            given = TABLE.astype("float64")
        case "list":
            given = TABLE.tolist()
        case "tensor":
            given = ops.convert_to_tensor(TABLE)
        case "npy":
            np.save(path, TABLE)
        case "safetensors":
            save_file({"table": TABLE}, path)
        case "txt":
            path.write_text(WORDS, encoding="utf-8")
        case "vec":
            path.write_text(f"4 3\n{WORDS.replace(' ', '  ')}\n\n", encoding="utf-8")
    layer = PretrainedEmbedding(str(given) if kind == "txt" else given)
    assert array(layer.embeddings).tobytes() == TABLE.tobytes()


# --- misuse -----------------------------------------------------------------------------------


def table() -> np.ndarray:
    return numbers(ROWS, WIDTH)


MISUSE: dict[str, tuple[Any, str]] = {
    "rows outside": (
        lambda: PretrainedEmbedding(table(), train=[1, 7, -1]),
        "rows to train lie outside the table.\n  received: 7, -1\n  expected: rows from 0 to 6",
    ),
    "rows twice": (
        lambda: PretrainedEmbedding(table(), train=[1, 2, 1]),
        "rows to train are named twice.\n  received: 1",
    ),
    "a slice of nothing": (
        lambda: PretrainedEmbedding(table(), train=slice(7, None)),
        "no rows to train are named.\n"
        "  received: slice(7, None, None)\n"
        "  expected: some of the rows 0 to 6, or train=False",
    ),
    "no row out of vocabulary": (
        lambda: PretrainedEmbedding(table(), train="oov"),
        "no rows to train are named.\n  received: 'oov'\n  expected: some of the rows 0 to 6, or train=False",
    ),
    "a word": (
        lambda: PretrainedEmbedding(table(), train="rows"),
        "train= has an invalid value.\n"
        "  received: 'rows'\n"
        "  expected: True, False, 'oov', a slice, a list of rows from 0 to 6, or 7 booleans",
    ),
    "a mask of another length": (
        lambda: PretrainedEmbedding(table(), train=np.ones(6, bool)),
        "train= has an invalid value.\n"
        "  received: an array of shape (6,), dtype bool\n"
        "  expected: True, False, 'oov', a slice, a list of rows from 0 to 6, or 7 booleans",
    ),
    "rows as floats": (
        lambda: PretrainedEmbedding(table(), train=[1.0, 2.0]),
        "train= has an invalid value.\n"
        "  received: [1.0, 2.0]\n"
        "  expected: True, False, 'oov', a slice, a list of rows from 0 to 6, or 7 booleans",
    ),
    "ragged": (
        lambda: PretrainedEmbedding([[1.0, 2.0], [3.0]]),
        "the matrix is not an array: its rows differ in length.\n"
        "  expected: a matrix: two axes, real numbers, at least one row and one column",
    ),
    "one axis": (
        lambda: PretrainedEmbedding([1.0, 2.0]),
        "this is not a matrix.\n"
        "  received: shape (2,)\n"
        "  expected: a matrix: two axes, real numbers, at least one row and one column",
    ),
    "another width": (
        lambda: PretrainedEmbedding(table(), output_dim=4),
        "the matrix has another shape than asked for.\n  received: (7, 3)\n  expected: (7, 4)",
    ),
    "no matrix": (
        lambda: PretrainedEmbedding(None, output_dim=4),
        "input_dim, where matrix is None, must be a whole number.\n  received: None\n  expected: 1 or more",
    ),
    "a vocabulary with an array": (
        lambda: PretrainedEmbedding(table(), vocabulary=["a"]),
        "a vocabulary goes with a text file of word vectors.\n"
        "  received: an array\n"
        "  fix:      order the rows of the matrix as your ids are, and leave vocabulary out",
    ),
    "another kind of file": (
        lambda: PretrainedEmbedding("vectors.bin"),
        "'vectors.bin' has an unsupported file type.\n"
        "  received: the ending '.bin'\n"
        "  expected: one of .npy, .safetensors, .txt, .vec\n"
        "  fix:      unpack it, or save its matrix with numpy.save('matrix.npy', matrix)",
    ),
}


@pytest.mark.parametrize("make", [m for m, _ in MISUSE.values()], ids=MISUSE)
def test_misuse(make: Any, request: pytest.FixtureRequest) -> None:
    with pytest.raises(LayerError) as caught:
        make()
    assert full_text(caught.value) == MISUSE[request.node.callspec.id][1]


@pytest.mark.parametrize("train", ["oov", slice(0, 2), [1, 4]], ids=str)
def test_ids_from_the_end_and_out_of_range_are_as_in_a_plain_table(train: Any) -> None:
    table = np.arange(10, dtype="float32").reshape(5, 2)
    rows = (
        {"matrix": table[:4], "oov_rows": 1, "oov_initializer": "zeros"}
        if train == "oov"
        else {"matrix": table}
    )
    layer, plain = fl.layers.PretrainedEmbedding(train=train, **rows), keras.layers.Embedding(5, 2)
    plain.build()
    plain.embeddings.assign(layer.embeddings)
    ids = np.array([[-5, -1, 0, 4, 3]])
    np.testing.assert_array_equal(outputs(layer, ids), outputs(plain, ids))
    for wrong in ([[-6]], [[5]], [[99]]):
        found = [outcome(one, np.array(wrong)) for one in (layer, plain)]
        np.testing.assert_array_equal(*found)


def outputs(layer: Any, ids: np.ndarray) -> np.ndarray:
    found: np.ndarray = keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(ids, dtype="int32")))
    return found


def outcome(layer: Any, ids: np.ndarray) -> np.ndarray:
    """What comes of ids out of range, on this backend: values, or an error."""
    try:
        return outputs(layer, ids)
    except Exception as error:
        return np.array(type(error).__name__)
