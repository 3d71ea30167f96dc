"""Targets, output and loss that do not fit together are found before training; mended twins are clean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import frostline as fl
from frostline.errors import DataError
from helpers.checks import first_on_each

pytestmark = [  # of Keras
    pytest.mark.filterwarnings("ignore:.*received `from_logits=True`"),
    pytest.mark.filterwarnings("ignore:(?s).*You are using a softmax over axis"),
]

rng = np.random.default_rng(0)
X = rng.normal(size=(12, 4)).astype("float32")
LABELS = np.arange(12) % 3
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
NUMBERS = rng.normal(size=(12, 1)).astype("float32") * 3


class OwnLoss(losses.Loss):  # type: ignore[misc]  # Keras ships no types
    """Subtracts, and aligns nothing."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.square(y_true - y_pred)


def model_of(loss: Any, *end: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), *end], name="net")
    model.compile("sgd", loss)
    return model


def dense(units: int = 3, activation: str | None = None) -> layers.Layer:
    return layers.Dense(units, activation, name="head")


def near_a_half(activation: str | None) -> layers.Layer:
    """One unit that gives 0.5 of everything."""
    half = keras.initializers.Constant(0.5)
    return layers.Dense(1, activation, kernel_initializer="zeros", bias_initializer=half, name="head")


Make = Callable[[], tuple[keras.Model, Any]]
FAULTS: dict[str, tuple[Make, Make, str]] = {
    "a label beyond the classes": (
        lambda: (model_of(losses.SparseCategoricalCrossentropy(from_logits=True), dense()), LABELS + 5),
        lambda: (model_of(losses.SparseCategoricalCrossentropy(from_logits=True), dense(8)), LABELS + 5),
        "labels reach from 5 to 7, and the output has 3 classes, 0 to 2",
    ),
    "a label below zero, by name": (
        lambda: (model_of("sparse_categorical_crossentropy", dense(3, "softmax")), LABELS - 1),
        lambda: (model_of("sparse_categorical_crossentropy", dense(3, "softmax")), LABELS),
        "labels reach from -1 to 1, and the output has 3 classes, 0 to 2",
    ),
    "logits taken for probabilities": (
        lambda: (model_of("categorical_crossentropy", dense()), ONE_HOT),
        lambda: (model_of(losses.CategoricalCrossentropy(from_logits=True), dense()), ONE_HOT),
        "and the loss takes it for probabilities",
    ),
    "logits of two classes taken for probabilities": (
        lambda: (model_of("binary_crossentropy", dense(1)), LABELS[:, None] % 2),
        lambda: (model_of("binary_crossentropy", dense(1, "sigmoid")), LABELS[:, None] % 2),
        "and the loss takes it for probabilities",
    ),
    "an output without an activation that lies between 0 and 1 by chance": (
        lambda: (model_of("binary_crossentropy", near_a_half(None)), LABELS[:, None] % 2),
        lambda: (model_of("binary_crossentropy", near_a_half("sigmoid")), LABELS[:, None] % 2),
        "the output has no activation, so that it may be any number, and the loss takes it for probabilities",
    ),
    "a relu taken for probabilities": (
        lambda: (model_of("binary_crossentropy", near_a_half("relu")), LABELS[:, None] % 2),
        lambda: (model_of("binary_crossentropy", near_a_half("sigmoid")), LABELS[:, None] % 2),
        "the output is a relu, so that it may be any number from 0 up, and the loss takes it for",
    ),
    "a relu taken for logits": (
        lambda: (model_of(losses.CategoricalCrossentropy(from_logits=True), dense(3, "relu")), ONE_HOT),
        lambda: (model_of(losses.CategoricalCrossentropy(from_logits=True), dense(3)), ONE_HOT),
        "the output is a relu, and the loss, with from_logits=True, takes it for logits: none of them is",
    ),
    "probabilities taken for logits": (
        lambda: (model_of(losses.CategoricalCrossentropy(from_logits=True), dense(3, "softmax")), ONE_HOT),
        lambda: (model_of(losses.CategoricalCrossentropy(), dense(3, "softmax")), ONE_HOT),
        "the output is a softmax, and the loss, with from_logits=True, takes it for logits",
    ),
    "softmax twice": (
        lambda: (model_of("categorical_crossentropy", dense(3, "softmax"), layers.Softmax()), ONE_HOT),
        lambda: (model_of("categorical_crossentropy", dense(3), layers.Softmax()), ONE_HOT),
        "the output is a softmax of a softmax",
    ),
    "softmax over one unit": (
        lambda: (model_of("binary_crossentropy", dense(1, "softmax")), LABELS[:, None] % 2),
        lambda: (model_of("binary_crossentropy", dense(1, "sigmoid")), LABELS[:, None] % 2),
        "the output is a softmax over one unit, which is 1 whatever comes in",
    ),
    "sigmoid of a relu": (
        lambda: (
            model_of("binary_crossentropy", dense(1, "relu"), layers.Activation("sigmoid")),
            LABELS[:, None] % 2,
        ),
        lambda: (
            model_of("binary_crossentropy", dense(1), layers.Activation("sigmoid")),
            LABELS[:, None] % 2,
        ),
        "the output is a sigmoid of a relu, which stays from 0.5 to 1",
    ),
    "softmax of a sigmoid": (
        lambda: (model_of("categorical_crossentropy", dense(3, "sigmoid"), layers.Softmax()), ONE_HOT),
        lambda: (model_of("categorical_crossentropy", dense(3), layers.Softmax()), ONE_HOT),
        "the output is a softmax of a sigmoid, which stays from 0 to 0.58",
    ),
    "several classes under a loss of one": (
        lambda: (
            model_of("categorical_crossentropy", dense(3, "softmax")),
            np.maximum(ONE_HOT, ONE_HOT[::-1]),
        ),
        lambda: (model_of("binary_crossentropy", dense(3, "sigmoid")), np.maximum(ONE_HOT, ONE_HOT[::-1])),
        "targets of a sample sum to 1 to 2, and the loss takes them for one class",
    ),
    "softmax over the samples": (
        lambda: (model_of("categorical_crossentropy", dense(3), layers.Softmax(axis=0)), ONE_HOT),
        lambda: (model_of("categorical_crossentropy", dense(3), layers.Softmax()), ONE_HOT),
        "each column of the output sums to one over the batch",
    ),
    "targets beyond a sigmoid": (
        lambda: (model_of("mse", dense(1, "sigmoid")), NUMBERS),
        lambda: (model_of("mse", dense(1)), NUMBERS),
        "and the output, a sigmoid, from 0 to 1",
    ),
    "targets that are not probabilities": (
        lambda: (model_of("binary_crossentropy", dense(1, "sigmoid")), NUMBERS),
        lambda: (model_of("binary_crossentropy", dense(1, "sigmoid")), (NUMBERS > 0).astype("float32")),
        "and the loss takes numbers from 0 to 1",
    ),
    "targets beyond a tanh": (
        lambda: (model_of("mae", dense(1), layers.Activation("tanh")), NUMBERS),
        lambda: (model_of("mae", dense(1), layers.Activation("tanh")), NUMBERS / 100),
        "and the output, a tanh, from -1 to 1",
    ),
    "targets below a relu": (
        lambda: (model_of("mse", dense(1), layers.ReLU()), NUMBERS),
        lambda: (model_of("mse", dense(1), layers.ReLU()), abs(NUMBERS)),
        "and the output, a relu, from 0 up",
    ),
    "targets stretched to all pairs": (
        lambda: (model_of(OwnLoss(), dense(1)), NUMBERS[:, 0]),
        lambda: (model_of(OwnLoss(), dense(1)), NUMBERS),
        "targets of shape (12,) and an output of (12, 1) are stretched to all pairs of samples",
    ),
}


def found(model: keras.Model, y: Any) -> list[fl.Finding]:
    return [finding for finding in fl.audit(model, X, y).findings if finding.code == "FL108"]


@pytest.mark.parametrize("name", first_on_each(FAULTS))
def test_it_is_found_and_its_mended_twin_is_clean(name: str) -> None:
    faulty, mended, text = FAULTS[name]
    facts = [one.fact for one in found(*faulty())]
    assert any(text in fact for fact in facts), facts
    assert found(*mended()) == []


def test_what_keras_aligns_by_itself_is_no_fault() -> None:
    assert found(model_of("mse", dense(1)), NUMBERS[:, 0]) == []


def test_labels_that_mean_no_class_are_none() -> None:
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    assert found(model_of(loss, dense()), LABELS - 1 + (LABELS == 2)) == []


def test_of_several_outputs_the_one_is_named() -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, {"kind": layers.Dense(3, name="kind")(x), "size": layers.Dense(1, name="size")(x)})
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", {"kind": sparse, "size": "mse"})
    (finding,) = found(model, {"kind": LABELS + 1, "size": NUMBERS})
    assert finding.fact.startswith("output 'kind': labels reach from 1 to 3")


def test_training_does_not_begin_on_labels_that_are_not_there() -> None:
    y = LABELS.copy()
    y[-1] = 7  # not among the samples that are looked at first
    model = model_of(losses.SparseCategoricalCrossentropy(from_logits=True), dense())
    before = [keras.ops.convert_to_numpy(v) for v in model.variables]
    with pytest.raises(DataError) as caught:
        fl.fit(model, fl.Plan(default="train"), X, y, verbose=0)
    assert str(caught.value) == (
        "labels do not fit the output of the model 'net'.\n"
        "  received: labels reach from 0 to 7, and the output has 3 classes, 0 to 2\n"
        "  fix:      count labels from 0, give the last layer 8 units, or leave such samples out"
    )
    assert all(map(np.array_equal, before, map(keras.ops.convert_to_numpy, model.variables)))
    assert fl.fit(model, fl.Plan(default="train"), X, LABELS, verbose=0).verification.ok


# What belongs to which, and what is none of ours ----------------------------------------------------


def two_heads(as_mapping: bool) -> keras.Model:
    x = keras.Input((4,), name="x")
    zeta, alpha = layers.Dense(3, name="zeta")(x), layers.Dense(8, name="alpha")(x)
    model = keras.Model(x, {"zeta": zeta, "alpha": alpha} if as_mapping else [zeta, alpha])
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", {"zeta": sparse, "alpha": sparse} if as_mapping else [sparse, sparse])
    return model


@pytest.mark.parametrize("as_mapping", [True, False])
def test_outputs_and_targets_are_paired_by_name_or_place(as_mapping: bool) -> None:
    small, large = LABELS, LABELS + 5

    def given(zeta: Any, alpha: Any) -> Any:
        return {"zeta": zeta, "alpha": alpha} if as_mapping else [zeta, alpha]

    assert found(two_heads(as_mapping), given(small, large)) == []
    (finding,) = found(two_heads(as_mapping), given(large, small))
    assert finding.fact.startswith("output 'zeta': labels reach from 5 to 7")


def test_classes_along_another_axis() -> None:
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, axis=1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(20, name="head"), layers.Reshape((5, 4))])
    model.compile("sgd", loss)
    labels = np.full((12, 4), 4)
    assert [one.fact for one in fl_targets(model, labels)] == []
    assert [one.fact for one in fl_targets(model, labels + 1)] == [
        "labels reach from 5 to 5, and the output has 5 classes, 0 to 4"
    ]


def fl_targets(model: keras.Model, y: Any) -> list[Any]:
    from frostline.diagnostics.targets import targets_of

    return [misfit for target in targets_of(model, y) if (misfit := target.labels_out_of_range) is not None]


class Lenient(losses.SparseCategoricalCrossentropy):  # type: ignore[misc]
    """Counts labels from one."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().__call__(y_true - 1, y_pred, sample_weight)


def test_a_loss_of_ones_own_may_do_with_labels_what_it_likes() -> None:
    model = model_of(Lenient(from_logits=True), dense())
    assert found(model, LABELS + 1) == []
    assert fl.fit(model, fl.Plan(default="train"), X, LABELS + 1, verbose=0).verification.ok


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the others refuse such labels by themselves")
def test_labels_without_weight_or_behind_a_mask_may_be_anything_where_that_works() -> None:
    y, weight = LABELS.copy(), np.ones(12, "float32")
    y[3], weight[3] = -1, 0
    model = model_of(losses.SparseCategoricalCrossentropy(from_logits=True), dense())
    assert fl.fit(model, fl.Plan(default="train"), X, y, sample_weight=weight, verbose=0).verification.ok
    masked = keras.Sequential(
        [keras.Input((5,)), layers.Embedding(9, 4, mask_zero=True, name="e"), layers.Dense(3, name="head")]
    )
    masked.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.array([[1, 2, 0, 0, 0]] * 4), np.array([[0, 1, -1, -1, -1]] * 4)
    assert fl.fit(masked, fl.Plan(default="train"), x, y, verbose=0).verification.ok


def test_a_model_that_fails_where_it_does_not_train_is_looked_at_all_the_same() -> None:
    class Training(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="training")
            self.head = layers.Dense(1, name="head")

        def build(self, shape: Any) -> None:
            self.head.build(shape)

        def call(self, x: Any, training: bool = False) -> Any:
            if not training:
                raise RuntimeError("only in training")
            return self.head(x)

    model = Training()
    model.build((None, 4))
    model.compile("sgd", "mse")
    (finding,) = found(model, NUMBERS)
    assert finding.severity == "note"
    assert "targets were not compared with the output" in finding.fact
    assert "only in training" in finding.fact


@pytest.mark.every_backend
def test_looking_draws_nothing_from_the_generators() -> None:
    class Noisy(layers.Layer):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x: Any) -> Any:
            return x + keras.random.normal(ops.shape(x), seed=self.seeds)

    def after(look: bool) -> list[Any]:
        keras.utils.set_random_seed(5)
        model = model_of("mse", Noisy(name="noisy"), dense(1))
        if look:
            # Two models that draw alike are compared alike, and not called different (FL402).
            assert {one.code for one in fl.audit(model, X, NUMBERS).findings} <= {"FL110"}
        drawn = keras.random.normal((3,))
        return [keras.ops.convert_to_numpy(drawn), np.asarray(model.predict(X, verbose=0))]

    assert all(map(np.array_equal, after(True), after(False)))


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Four batches of three samples; the labels of the third may be off."""

    def __init__(self, off: int) -> None:
        super().__init__()
        self.off = off

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        rows = slice(3 * index, 3 * index + 3)
        return X[rows], LABELS[rows] + (self.off if index == 2 else 0)


def generated(off: int) -> Any:
    for index in range(4):
        yield Batches(off)[index]


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="refuses such labels by itself")
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # as Keras says at the end of any generator
@pytest.mark.parametrize("stream", [Batches, generated])
def test_labels_of_a_stream_are_looked_at_before_their_batch_is_trained_on(stream: Any) -> None:
    model = model_of(losses.SparseCategoricalCrossentropy(from_logits=True), dense())
    with pytest.raises(DataError) as caught:
        fl.fit(model, fl.Plan(default="train"), stream(5), verbose=0, shuffle=False)
    assert str(caught.value).startswith(
        "labels of batch 3, which was not trained on, do not fit the output of the model 'net'.\n"
        "  received: labels reach from 5 to 7, and the output has 3 classes, 0 to 2\n"
    )
    assert int(model.optimizer.iterations) == 2
    assert not hasattr(model.train_function, "frostline_unwatched")
    run = fl.fit(model, fl.Plan(default="train"), stream(0), verbose=0, shuffle=False)
    assert run.verification.ok
