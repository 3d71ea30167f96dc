"""A larger vocabulary: in every kind of model, with every kind of head, old bits."""

from __future__ import annotations

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
from helpers.growing_models import (
    LENGTH,
    NEW,
    WIDTH,
    WORDS,
    Make,
    bare,
    functional,
    ids,
    made,
    nested,
    sequential,
    table_of,
)
from helpers.small_models import value_of

pytestmark = pytest.mark.eager


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


KINDS: dict[str, tuple[Make, str]] = {
    "functional": (functional, "tokens/embeddings"),
    "sequential": (sequential, "tokens/embeddings"),
    "subclassed": (subclassed, ""),
    "nested": (nested, "encoder/front/word/embeddings"),
}


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
@pytest.mark.every_backend
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


def test_a_function_that_builds_the_model_takes_the_place_of_a_configuration() -> None:
    model = made(bare)
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, build=bare)
    assert table_of(larger).numpy()[:WORDS].tobytes() == table_of(model).numpy().tobytes()
    with pytest.raises(fl.FrostlineError) as caught:
        fl.grow_embedding(model, "tokens/embeddings", rows=NEW, build=lambda rows: bare(rows + 1))
    assert str(caught.value) == (
        "'tokens/embeddings' is a different weight in the rebuilt model.\n"
        "  received: weight of shape (13, 4), float32\n"
        "  expected: weight of shape (9, 4), float32"
    )
    with pytest.raises(fl.FrostlineError, match="did not gain rows in the rebuilt model"):
        fl.grow_embedding(model, "tokens/embeddings", rows=NEW, build=lambda rows: bare())
