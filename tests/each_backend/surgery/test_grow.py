"""A larger vocabulary: in every kind of model, with every kind of head, old bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops, optimizers

import frostline as fl
from helpers.checks import every_flag, examples, values
from helpers.small_models import value_of

WORDS, WIDTH, LENGTH, NEW = 9, 4, 5, 3

Make = Callable[[], keras.Model]


def functional() -> keras.Model:
    """Padding is masked; the table goes through a recurrent layer that heeds the mask."""
    ids = keras.Input((LENGTH,), dtype="int32")
    hidden = layers.Embedding(WORDS, WIDTH, mask_zero=True, name="tokens")(ids)
    hidden = layers.SimpleRNN(WIDTH, name="rnn")(hidden)
    return keras.Model(ids, layers.Dense(2, name="head")(hidden), name="functional")


def sequential() -> keras.Model:
    """Batch normalization, so that statistics are carried over too."""
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(WORDS, WIDTH, name="tokens"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling1D(name="pool"),
            layers.Dense(2, name="head"),
        ],
        name="sequential",
    )


@keras.saving.register_keras_serializable("frostline_growing")
class Tagger(keras.Model):
    """Subclassed; its layers have no names of their own, so they are numbered anew in each model."""

    def __init__(self, vocabulary: int, outputs: int | None = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary, self.outputs = vocabulary, outputs
        self.table = layers.Embedding(vocabulary, WIDTH)
        self.out = layers.Dense(outputs or vocabulary)

    def build(self, input_shape: Any) -> None:
        self.table.build(input_shape)
        self.out.build((*input_shape, WIDTH))
        self.built = True

    def call(self, ids: Any) -> Any:
        return ops.mean(self.out(self.table(ids)), axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocabulary": self.vocabulary, "outputs": self.outputs}


def subclassed() -> keras.Model:
    model = Tagger(WORDS, name="tagger")
    model.build((None, LENGTH))
    return model


@keras.saving.register_keras_serializable("frostline_growing")
class Front(layers.Layer):
    """A layer that makes its table itself, from a setting with a name of its own."""

    def __init__(self, entries: int, heads: int = WORDS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entries, self.heads, self.factor = entries, heads, 1.0
        self.word = layers.Embedding(entries, WIDTH, name="word")

    def build(self, input_shape: Any) -> None:
        self.word.build(input_shape)
        self.built = True

    def call(self, ids: Any) -> Any:
        return ops.mean(self.word(ids), axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "entries": self.entries, "heads": self.heads}


def nested() -> keras.Model:
    """A custom layer inside a nested model; another of its settings has the same number by chance."""
    ids = keras.Input((LENGTH,), dtype="int32")
    inner = keras.Model(ids, Front(WORDS, name="front")(ids), name="encoder")
    outer = keras.Input((LENGTH,), dtype="int32")
    return keras.Model(outer, layers.Dense(2, name="head")(inner(outer)), name="nested")


KINDS: dict[str, tuple[Make, str]] = {
    "functional": (functional, "tokens/embeddings"),
    "sequential": (sequential, "tokens/embeddings"),
    "subclassed": (subclassed, ""),
    "nested": (nested, "encoder/front/word/embeddings"),
}


def made(make: Make) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = make()
    for weight in fl.inventory(model).of_role("weight", "statistic"):
        weight.variable.assign(weight.numpy() + 0.25)
    return model


def table_of(model: keras.Model) -> fl.Weight:
    return next(w for w in fl.inventory(model) if w.name == "embeddings")


def ids(most: int, samples: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, (samples, LENGTH)).astype("int32")


def logits_model(tied: bool = True) -> keras.Model:
    """Ids in, one logit for each row of the table out, by a `ReversibleEmbedding`."""
    numbers = keras.Input((LENGTH,), dtype="int32")
    table = layers.ReversibleEmbedding(WORDS, WIDTH, tie_weights=tied, mask_zero=True, name="tokens")
    hidden = layers.Dense(WIDTH, name="dense")(table(numbers))
    return keras.Model(numbers, table(hidden, reverse=True), name="logits")


def dense_head() -> keras.Model:
    numbers = keras.Input((LENGTH,), dtype="int32")
    hidden = layers.Embedding(WORDS, WIDTH, name="tokens")(numbers)
    return keras.Model(numbers, layers.Dense(WORDS, name="logits")(hidden), name="dense_head")


# --- every kind of model ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_old_rows_and_old_answers_keep_their_bits(kind: str) -> None:
    make, _ = KINDS[kind]
    model = made(make)
    fl.inventory(model).by_address[table_of(model).address].variable.trainable = False
    before, flags = list(values(model).values()), list(every_flag(model).values())
    answers = model.predict(ids(WORDS), verbose=0)

    larger, _ = fl.grow_embedding(model, table_of(model).address, rows=NEW)
    assert type(larger) is type(model)
    assert table_of(larger).shape == (WORDS + NEW, WIDTH)
    for old, new in zip(before, values(larger).values(), strict=True):
        assert new[: len(old)].tobytes() == old.tobytes()
    assert list(every_flag(larger).values()) == flags
    assert larger.predict(ids(WORDS), verbose=0).tobytes() == answers.tobytes()
    assert np.isfinite(larger.predict(ids(WORDS + NEW), verbose=0)).all()

    assert table_of(model).shape == (WORDS, WIDTH)
    assert [v.tobytes() for v in values(model).values()] == [v.tobytes() for v in before]


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_model_is_saved_and_loaded_by_keras(kind: str, tmp_path: Path) -> None:
    model = made(KINDS[kind][0])
    larger, _ = fl.grow_embedding(model, table_of(model).address, rows=NEW)
    larger.save(tmp_path / "larger.keras")
    loaded = keras.models.load_model(tmp_path / "larger.keras")
    now, there = values(larger), values(loaded)
    assert [v.tobytes() for v in now.values()] == [v.tobytes() for v in there.values()]
    expected = larger.predict(ids(WORDS + NEW), verbose=0)
    assert loaded.predict(ids(WORDS + NEW), verbose=0).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_trains_the_new_rows_alone(kind: str) -> None:
    """Under AdamW with decay, which moves every row that it holds."""
    model = made(KINDS[kind][0])
    larger, plan = fl.grow_embedding(model, table_of(model).address, rows=NEW)
    table, before = table_of(larger).address, values(larger)
    larger.compile(optimizers.AdamW(0.05, weight_decay=0.5), "mse")
    x = ids(WORDS + NEW)
    answers = larger.predict(ids(WORDS), verbose=0)
    run = fl.fit(larger, plan, x, np.ones((len(x), 2), "float32"), epochs=2, verbose=0)
    assert run.verification is not None
    assert run.verification.of("partial") == (table,)
    now = values(larger)
    moved = (now[table] != before[table]).any(axis=1)
    assert moved.tolist() == [False] * WORDS + [True] * NEW
    assert {a for a in now if now[a].tobytes() != before[a].tobytes()} == {table}
    assert larger.predict(ids(WORDS), verbose=0).tobytes() == answers.tobytes()
    assert run.resolution.trained_elements == NEW * WIDTH


def test_a_compiled_and_fitted_model_is_left_as_it_was() -> None:
    model = made(functional)
    model.compile(optimizers.Adam(0.1), "mse")
    x, y = ids(WORDS), np.ones((8, 2), "float32")
    model.fit(x, y, verbose=0)
    function, before = model.train_function, values(model)
    larger, plan = fl.grow_embedding(model, "tokens/embeddings", rows=NEW)
    assert not larger.compiled
    assert model.train_function is function
    larger.compile(optimizers.Adam(0.1), "mse")
    fl.fit(larger, plan, ids(WORDS + NEW), y, verbose=0)
    assert [v.tobytes() for v in values(model).values()] == [v.tobytes() for v in before.values()]
    model.fit(x, y, verbose=0)


def test_masks_and_grown_twice() -> None:
    model = made(functional)
    once, _ = fl.grow_embedding(model, "tokens/embeddings", rows=1)
    twice, plan = fl.grow_embedding(once, "tokens/embeddings", rows=2)
    tokens = twice.get_layer("tokens")
    assert (tokens.input_dim, tokens.mask_zero) == (WORDS + 3, True)
    assert str(plan).splitlines()[-1].strip() == "1. train 'tokens/embeddings' (rows 10:)"
    masked = np.array([[1, 2, 0, 0, 0]], "int32")
    assert twice.predict(masked, verbose=0).tobytes() == model.predict(masked, verbose=0).tobytes()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float16"])
def test_other_dtypes(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = made(sequential)
    finally:
        keras.config.set_dtype_policy(before)
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, initializer=[[0], [1, 2], [8]])
    old, new = table_of(model), table_of(larger)
    assert new.dtype == old.dtype
    assert new.numpy()[:WORDS].tobytes() == old.numpy().tobytes()
    assert new.numpy()[WORDS].tobytes() == old.numpy()[0].tobytes()
    assert new.numpy()[-1].tobytes() == old.numpy()[8].tobytes()
    answers = [ops.convert_to_numpy(ops.cast(m(ids(WORDS)), "float32")) for m in (model, larger)]
    assert np.array_equal(*answers)


# --- heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_reversible_table_grows_with_its_head(tied: bool, tmp_path: Path) -> None:
    model = made(lambda: logits_model(tied))
    larger, plan = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, initializer=[[1], [2, 3], [4]])
    assert larger.output_shape == (None, LENGTH, WORDS + NEW)
    before, now = values(model), values(larger)
    x = ids(WORDS)
    old, new = (m.predict(x, verbose=0) for m in (model, larger))
    np.testing.assert_allclose(new[..., :WORDS], old, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(new[..., WORDS], old[..., 1], rtol=1e-6, atol=1e-6)
    if not tied:
        address = "tokens/reverse_embeddings"
        assert now[address].shape == (WIDTH, WORDS + NEW)
        assert now[address][:, :WORDS].tobytes() == before[address].tobytes()
        expected = before[address][:, [2, 3]].astype("float64").mean(axis=1).astype("float32")
        assert now[address][:, WORDS + 1].tobytes() == expected.tobytes()
    trained = ["tokens/embeddings"] + ([] if tied else ["tokens/reverse_embeddings"])
    larger.compile(optimizers.AdamW(0.05, weight_decay=0.5), "mse")
    run = fl.fit(larger, plan, ids(WORDS + NEW), np.zeros((8, LENGTH, WORDS + NEW)), verbose=0)
    assert run.verification is not None
    assert set(run.verification.of("partial")) == set(trained)
    assert run.resolution.trained_elements == NEW * WIDTH * len(trained)
    after = values(larger)
    assert after["tokens/embeddings"][:WORDS].tobytes() == before["tokens/embeddings"].tobytes()
    larger.save(tmp_path / "larger.keras")
    loaded = keras.models.load_model(tmp_path / "larger.keras", compile=False)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), larger.predict(x, verbose=0), atol=1e-6)


def test_a_dense_head_grows_where_it_is_named() -> None:
    model = made(dense_head)
    larger, plan = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, head="logits")
    assert larger.output_shape == (None, LENGTH, WORDS + NEW)
    before, now = values(model), values(larger)
    assert now["logits/kernel"][:, :WORDS].tobytes() == before["logits/kernel"].tobytes()
    assert now["logits/bias"][:WORDS].tobytes() == before["logits/bias"].tobytes()
    np.testing.assert_allclose(now["logits/kernel"][:, -1], before["logits/kernel"].mean(axis=1), rtol=1e-6)
    larger.compile(optimizers.AdamW(0.05, weight_decay=0.5), "mse")
    run = fl.fit(larger, plan, ids(WORDS + NEW), np.zeros((8, LENGTH, WORDS + NEW)), verbose=0)
    assert run.verification is not None
    partial = {"tokens/embeddings", "logits/kernel", "logits/bias"}
    assert set(run.verification.of("partial")) == partial
    assert run.resolution.trained_elements == NEW * (2 * WIDTH + 1)

    alone, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW)
    assert alone.output_shape == (None, LENGTH, WORDS)


def test_what_the_model_makes_of_the_same_setting_grows_too() -> None:
    """Here one setting makes the table and an output layer."""

    def untied() -> keras.Model:
        model = Tagger(WORDS, outputs=None)
        model.build((None, LENGTH))
        return model

    model = made(untied)
    larger, plan = fl.grow_embedding(model, table_of(model).address, rows=NEW, initializer="zeros")
    shapes = [w.shape for w in fl.inventory(larger)]
    assert shapes == [(WORDS + NEW, WIDTH), (WIDTH, WORDS + NEW), (WORDS + NEW,)]
    assert len(plan.rules) == 3
    assert not value_of(larger.out.kernel)[:, WORDS:].any()


# --- what new rows start from ---------------------------------------------------------------------


GIVEN = np.arange(NEW * WIDTH, dtype="float32").reshape(NEW, WIDTH)


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        ("mean", lambda old: np.tile(old.astype("float64").mean(axis=0), (NEW, 1))),
        ("zeros", lambda old: np.zeros((NEW, WIDTH))),
        ("ones", lambda old: np.ones((NEW, WIDTH))),
        (keras.initializers.Constant(0.5), lambda old: np.full((NEW, WIDTH), 0.5)),
        (GIVEN, lambda old: GIVEN),
        (GIVEN.tolist(), lambda old: GIVEN),
        (GIVEN.astype("float64"), lambda old: GIVEN),
        (ops.convert_to_tensor(GIVEN), lambda old: GIVEN),
        ([[8], [0, 1], [2, 2]], lambda old: np.stack([old[8], old[:2].mean(axis=0), old[2]])),
        (lambda row: [row, row + 1], lambda old: (old[:NEW] + old[1 : NEW + 1]) / 2),
        (lambda row: np.array([row]), lambda old: old[:NEW]),
    ],
    ids=["mean", "zeros", "ones", "keras", "array", "list", "float64", "tensor", "pieces", "function", "ids"],
)
def test_initializers(initializer: Any, expected: Callable[[np.ndarray], np.ndarray]) -> None:
    model = made(sequential)
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, initializer=initializer)
    old, new = table_of(model).numpy(), table_of(larger).numpy()
    np.testing.assert_allclose(new[WORDS:], expected(old), rtol=1e-6)


def test_an_initializer_with_a_spread_draws_rows_of_the_whole_table() -> None:
    """The variance of Glorot's depends on the size: three rows on their own would be far wider."""
    model = keras.Sequential([keras.Input((3,)), layers.Embedding(3000, WIDTH, name="tokens")])
    drawn = keras.initializers.GlorotUniform(seed=1)
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, initializer=drawn)
    new = table_of(larger).numpy()[3000:]
    limit = np.sqrt(6 / (3003 + WIDTH))
    assert 0.3 * limit < np.abs(new).max() <= limit


# --- sizes ----------------------------------------------------------------------------------------


@settings(max_examples=examples(20, 10, 8), deadline=None)
@given(
    words=st.integers(1, 7),
    width=st.integers(1, 7),
    rows=st.integers(1, 5),
    units=st.integers(1, 7),
    start=st.sampled_from(["mean", "zeros", "glorot_uniform"]),
)
def test_any_sizes(words: int, width: int, rows: int, units: int, start: str) -> None:
    """Also where the size of the vocabulary is that of something else as well."""
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="int32"),
            layers.Embedding(words, width, name="tokens"),
            layers.Dense(units, name="dense"),
            layers.Dense(words, name="logits"),
        ]
    )
    larger, plan = fl.grow_embedding(model, "tokens/embeddings", rows, start, head="logits")
    shapes = {w.address: w.shape for w in fl.inventory(larger)}
    assert shapes == {
        "tokens/embeddings": (words + rows, width),
        "dense/kernel": (width, units),
        "dense/bias": (units,),
        "logits/kernel": (units, words + rows),
        "logits/bias": (words + rows,),
    }
    for address, old in values(model).items():
        new = values(larger)[address]
        kept = new[tuple(slice(n) for n in old.shape)]
        assert kept.tobytes() == old.tobytes()
    assert plan.resolve(larger).trained_elements == rows * (width + units + 1)


# --- where the configuration does not do ----------------------------------------------------------


class Bare(keras.Model):
    """Has no configuration: its argument is not a plain value."""

    def __init__(self, table: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def call(self, numbers: Any) -> Any:
        return self.table(numbers)

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("no config")


def bare(rows: int = WORDS) -> keras.Model:
    model = Bare(layers.Embedding(rows, WIDTH, name="tokens"))
    model(np.zeros((1, LENGTH), "int32"))
    return model


def test_a_function_that_builds_the_model_takes_the_place_of_a_configuration() -> None:
    model = made(bare)
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, build=bare)
    assert table_of(larger).numpy()[:WORDS].tobytes() == table_of(model).numpy().tobytes()
    with pytest.raises(fl.FrostlineError) as caught:
        fl.grow_embedding(model, "tokens/embeddings", rows=NEW, build=lambda rows: bare(rows + 1))
    assert str(caught.value) == (
        "'tokens/embeddings' is another weight in the model made anew.\n"
        "  received: weight of shape (13, 4), float32\n"
        "  expected: weight of shape (9, 4), float32"
    )
    with pytest.raises(fl.FrostlineError, match="has no more rows in the model made anew"):
        fl.grow_embedding(model, "tokens/embeddings", rows=NEW, build=lambda rows: bare())


# --- refusals: the full text ------------------------------------------------------------------------


def refused(model: keras.Model, address: str = "tokens/embeddings", **arguments: Any) -> str:
    before = values(model)
    with pytest.raises(fl.FrostlineError) as caught:
        fl.grow_embedding(model, address, **{"rows": NEW} | arguments)
    assert [v.tobytes() for v in values(model).values()] == [v.tobytes() for v in before.values()]
    return str(caught.value)


def test_a_wrong_address() -> None:
    assert refused(made(sequential), "token/embedings") == (
        "the model 'sequential' has no weight 'token/embedings'.\n"
        "  expected: the address of a table with one row for each entry of the vocabulary\n"
        "  fix:      did you mean tokens/embeddings?"
    )
    assert refused(made(sequential), "head/bias") == (
        "'head/bias' is not a table of trainable rows.\n"
        "  received: a weight of shape (2,), float32\n"
        "  expected: a weight with one row for each entry of the vocabulary, of floating-point numbers"
    )


def test_a_weight_whose_rows_are_no_setting() -> None:
    assert refused(made(sequential), "head/kernel") == (
        "no setting of 'head' could be raised from 4 to 7.\n"
        "  received: no setting with the value 4\n"
        "  expected: one such as input_dim=, that sets the rows of the table and, with it, nothing else\n"
        "  fix:      name an output layer with weights of its own as head=; or pass build=, a function of "
        "the new number of rows that returns a new, built model"
    )


@pytest.mark.parametrize("rows", [0, -1, True, 2.0, "3"])
def test_a_number_of_rows_that_is_none(rows: Any) -> None:
    assert refused(made(sequential), rows=rows) == (
        f"rows must say how many rows are new.\n  received: {rows!r}\n  expected: a whole number from 1 on"
    )


@pytest.mark.parametrize(
    ("initializer", "text"),
    [
        (
            "men",
            "there is no such initializer.\n  received: 'men'\n  expected: 'mean', 'zeros', an initializer "
            "of Keras, an array of the new rows, or ids of pieces",
        ),
        (
            [[1], [2]],
            "there are pieces for 2 new rows, and 3 rows are new.\n"
            "  expected: one list of ids of old rows for each new one",
        ),
        (
            [[1], [], [2]],
            "the pieces of new row 1 are not ids of old rows.\n  received: []\n"
            "  expected: at least one id, such as [101, 7592]",
        ),
        (
            [[1], [2], [9]],
            "a piece of new row 2 is not an old row.\n  received: id 9\n  expected: ids from 0 to 8",
        ),
        (
            lambda row: [-1],
            "a piece of new row 0 is not an old row.\n  received: id -1\n  expected: ids from 0 to 8",
        ),
        (
            GIVEN[:2],
            "this does not say what the new rows start from.\n  received: dtype float32, shape (2, 4)\n"
            "  expected: an array of floating-point numbers of shape (3, 4), "
            "or one of the other initializers",
        ),
        (
            GIVEN.astype("int32"),
            "this does not say what the new rows start from.\n  received: dtype int32, shape (3, 4)\n"
            "  expected: an array of floating-point numbers of shape (3, 4), "
            "or one of the other initializers\n"
            "  fix:      give ids of pieces as lists: ids.tolist()",
        ),
        (np.where(GIVEN == 5, np.nan, GIVEN), "new row 1 holds a number that is not finite."),
        (
            None,
            "this does not say what the new rows start from.\n  received: a NoneType\n"
            "  expected: an array of floating-point numbers of shape (3, 4), "
            "or one of the other initializers",
        ),
    ],
    ids=["name", "too few", "empty", "range", "negative", "shape", "dtype", "nan", "none"],
)
def test_initializers_that_do_not_fit(initializer: Any, text: str) -> None:
    assert refused(made(sequential), initializer=initializer) == text


def test_a_head_that_is_none() -> None:
    assert refused(made(functional), head="rnn").startswith(
        "no setting of 'tokens' and 'rnn' could be raised"
    )
    assert refused(made(functional), head="hed") == (
        "the model 'functional' has no layer 'hed'.\n"
        "  expected: the address of a layer, or a name that only one layer has\n"
        "  fix:      did you mean head?"
    )


def test_a_model_without_a_configuration() -> None:
    model = made(bare)
    assert refused(model) == (
        f"the model {model.name!r} cannot be made anew: it has no complete configuration.\n"
        "  received: no config\n"
        "  fix:      give its classes a get_config, which saving needs too; or pass build=, a function "
        "of the new number of rows that returns a new, built model"
    )


def test_a_setting_changed_by_hand_that_the_configuration_knows_of() -> None:
    model = made(functional)
    model.get_layer("head").activation = keras.activations.tanh
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW)
    model.predict_function = None
    x = ids(WORDS)
    assert larger.predict(x, verbose=0).tobytes() == model.predict(x, verbose=0).tobytes()


def test_what_was_set_by_hand_beside_the_configuration() -> None:
    model = made(nested)
    front = model.get_layer("encoder").get_layer("front")
    front.factor = 2.0
    front.call = lambda numbers: front.factor * type(front).call(front, numbers)
    assert refused(model, "encoder/front/word/embeddings") == (
        "the configuration of 'encoder/front' does not know of all its settings.\n"
        "  received: factor, call, changed on the layer after it was made\n"
        "  expected: a layer that its get_config describes: else saving loses this too\n"
        "  fix:      let get_config return it, or pass build=, a function of the new number of rows that "
        "returns a new, built model"
    )


def test_layers_that_are_something_else_already() -> None:
    quantized = made(sequential)
    quantized.get_layer("tokens").quantize("int8")
    assert refused(quantized) == (
        "'tokens/embeddings' is not a table of trainable rows.\n"
        "  received: a statistic of shape (9, 4), int8\n"
        "  expected: a weight with one row for each entry of the vocabulary, of floating-point numbers"
    )
    adapted = made(sequential)
    adapted.get_layer("tokens").enable_lora(2)
    assert refused(adapted) == (
        "'tokens/embeddings' belongs to a layer with an adapter of Keras's own (enable_lora).\n"
        "  fix:      grow first, then put adapters on; fl.LowRank can be taken off again"
    )
    parametrized = made(sequential)
    fl.parametrize(parametrized, "head/kernel", fl.Rows([1]))
    assert refused(parametrized) == (
        "the model has parametrized weights, which a configuration does not know of.\n"
        "  received: head/kernel\n"
        "  fix:      call fl.merge(model) first, or remove() what fl.parametrize gave back"
    )
