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

pytestmark = [
    pytest.mark.every_backend,
    pytest.mark.filterwarnings("ignore:.*received `from_logits=True`"),  # of Keras itself, on TensorFlow
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
    "targets that are no probabilities": (
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


@pytest.mark.parametrize("name", FAULTS)
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
