"""Targets are judged by what their loss asks of them; what a loss of Keras's own refuses is said in words."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import frostline as fl
from frostline.errors import AuditError

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
rng = np.random.default_rng(0)
X = rng.normal(size=(16, 4)).astype("float32")
NUMBERS = rng.normal(size=(16, 1)).astype("float32") * 3
LABELS = np.arange(16) % 3
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
MARKED = rng.integers(-1, 2, (16, 3)).astype("float32")
"""Labels of three tasks, with -1 where one is not known."""
SHARES = rng.dirichlet([1, 1, 1], 16).astype("float32")


def model_of(loss: Any, units: int, activation: Any = None, *end: Any, **settings: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    head = layers.Dense(units, activation, name="head", **settings)
    model = keras.Sequential([keras.Input((4,)), head, *end], name="net")
    model.compile(keras.optimizers.SGD(0.05), loss)
    return model


def found(model: keras.Model, y: Any, x: Any = X, **given: Any) -> list[fl.Finding]:
    return [one for one in fl.audit(model, x, y, **given).findings if one.code == "FL108"]


# Losses of the user's own, and what targets mean to them ----------------------------------------------


def hot(labels: Any, count: int) -> Any:
    return ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), count)


def reinforce(y: Any, p: Any) -> Any:
    """Actions and returns."""
    return -ops.mean(y[:, 1] * ops.log(ops.sum(hot(y[:, 0], 3) * p, -1) + 1e-7))


def advantages(y: Any, p: Any) -> Any:
    """The advantage of each action, in the shape of the output."""
    return -ops.mean(y * ops.log(p + 1e-7))


def focal(y: Any, p: Any) -> Any:
    chance = ops.sum(hot(y, 3) * p, -1) + 1e-7
    return -ops.mean((1 - chance) ** 2 * ops.log(chance))


def marked(y: Any, p: Any) -> Any:
    """Where a label is -1 it is not known."""
    known, y = ops.cast(y >= 0, "float32"), ops.maximum(y, 0.0)
    return -ops.sum(known * (y * ops.log(p + 1e-7) + (1 - y) * ops.log(1 - p + 1e-7))) / ops.sum(known)


def marked_squares(y: Any, p: Any) -> Any:
    return ops.sum(ops.where(y >= 0, (y - p) ** 2, 0.0))


def triplet(y: Any, p: Any) -> Any:
    y = ops.reshape(y, (-1,))
    apart = ops.sum((p[:, None] - p[None]) ** 2, -1)
    same = ops.cast(y[:, None] == y[None], "float32")
    return ops.mean(ops.relu(ops.max(apart * same, 1) - ops.min(apart + 10 * same, 1) + 0.5))


def expected_value(y: Any, p: Any) -> Any:
    """A distribution over returns."""
    return ops.mean((y[:, 0] - ops.sum(p * ops.linspace(-5.0, 5.0, 11), -1)) ** 2)


def deviation(y: Any, p: Any) -> Any:
    """The output is the deviation of the targets."""
    return ops.mean(ops.log(p + 1e-3) + 0.5 * (y / (p + 1e-3)) ** 2)


def even_deviation(y: Any, p: Any) -> Any:
    """The same with the square alone: below zero it is as low as above."""
    return ops.mean(ops.log(p**2 + 1e-3) + y**2 / (p**2 + 1e-3))


@pytest.mark.parametrize(
    ("loss", "units", "activation", "y"),
    [
        (reinforce, 3, "softmax", np.stack([LABELS, NUMBERS[:, 0]], 1).astype("float32")),
        (advantages, 3, "softmax", rng.normal(size=(16, 3)).astype("float32")),
        (focal, 3, "softmax", LABELS),
        (marked, 3, "sigmoid", MARKED),
        (marked_squares, 3, "sigmoid", MARKED),
        (triplet, 4, "tanh", LABELS),
        (expected_value, 11, "softmax", NUMBERS),
        (deviation, 1, "softplus", NUMBERS),
        (even_deviation, 1, "softplus", NUMBERS),
    ],
)
def test_targets_that_the_output_need_not_equal(loss: Any, units: int, activation: str, y: Any) -> None:
    assert found(model_of(loss, units, activation), y) == []


@pytest.mark.parametrize("loss", ["cosine_similarity", losses.Circle(), losses.CategoricalHinge()])
def test_losses_of_keras_that_compare_something_else(loss: Any) -> None:
    y = LABELS if isinstance(loss, losses.Circle) else 3 * ONE_HOT - 1
    assert found(model_of(loss, 3, "tanh"), y) == []


class OwnSquares(losses.Loss):  # type: ignore[misc]  # Keras ships no types
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), -1)


class Renamed(losses.MeanSquaredError):  # type: ignore[misc]
    """Computes what its base does."""


class OfMarked(losses.MeanSquaredError):  # type: ignore[misc]
    """Leaves out what is not known."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return super().call(ops.where(y_true < 0, ops.stop_gradient(y_pred), y_true), y_pred)


def handing_on(y: Any, p: Any) -> Any:
    """Calls one of Keras's."""
    return losses.mean_squared_error(y, p)


ENTROPY = losses.BinaryCrossentropy(label_smoothing=0.1)


def handing_on_to_an_object(y: Any, p: Any) -> Any:
    return ENTROPY(y, p)


@pytest.mark.parametrize(
    "loss",
    [
        OwnSquares(),
        Renamed(),
        Renamed,
        handing_on,
        handing_on_to_an_object,
        functools.partial(losses.huber, delta=0.5),
        lambda y, p: ops.mean(ops.abs(y - p)),
        lambda y, p: ops.mean(ops.maximum(0.9 * (y - p), 0.1 * (p - y))),
    ],
)
def test_targets_that_the_output_is_to_equal_and_cannot(loss: Any) -> None:
    (one,) = found(model_of(loss, 1, "sigmoid"), NUMBERS)
    assert one.severity == ("error" if loss is handing_on_to_an_object else "warning")
    assert one.fact.startswith("targets reach from -")
    assert found(model_of(loss, 1, "sigmoid"), 1 / (1 + np.exp(-NUMBERS))) == []


def test_a_subclass_that_computes_otherwise_is_the_users_own() -> None:
    assert found(model_of(OfMarked(), 3, "sigmoid"), MARKED) == []


# Targets that count nothing ---------------------------------------------------------------------------

STEPS = rng.normal(size=(16, 6, 4)).astype("float32")
PADDED = rng.integers(0, 2, (16, 6, 1)).astype("float32")
PADDED[:, 4:] = -1
COUNTING = np.ones((16, 6), "float32")
COUNTING[:, 4:] = 0


def of_steps(loss: Any, units: int, activation: str, *front: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    parts = [keras.Input((6, 4)), *front, layers.Dense(units, activation, name="head")]
    model = keras.Sequential(parts, name="net")
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("weight", [COUNTING, COUNTING[..., None]])
def test_targets_of_steps_without_weight(weight: Any) -> None:
    model = of_steps("mse", 1, "sigmoid")
    assert found(model, PADDED, STEPS, sample_weight=weight) == []
    assert len(found(model, PADDED, STEPS)) == 1


@pytest.mark.parametrize("weight", [np.arange(16) % 2, (np.arange(16) % 2)[:, None]])
def test_targets_of_samples_without_weight(weight: Any) -> None:
    y = np.where(np.arange(16)[:, None] % 2, abs(NUMBERS), -1).astype("float32")
    model = model_of("mse", 1, "softplus")
    assert found(model, y, sample_weight=weight.astype("float32")) == []
    assert len(found(model, y, sample_weight=1.0 - weight)) == 1


def test_targets_behind_a_mask() -> None:
    x = STEPS.copy()
    x[:, 4:] = 0
    assert found(of_steps("mse", 1, "sigmoid", layers.Masking(name="masking")), PADDED, x) == []


def trains(model: keras.Model, *data: Any, **settings: Any) -> bool:
    try:
        (loss,) = model.fit(*data, verbose=0, **settings).history["loss"]
    except Exception:  # of a backend: which ones raise is what is asked
        return False
    return bool(np.isfinite(loss))


@pytest.mark.parametrize("loss", ["binary_crossentropy", "sparse_categorical_crossentropy"])
def test_labels_without_weight_are_a_fault_where_training_raises(loss: str) -> None:
    sparse = loss.startswith("sparse")
    y = PADDED[..., 0].astype("int32") if sparse else PADDED

    def make() -> keras.Model:
        return of_steps(loss, 3 if sparse else 1, "softmax" if sparse else "sigmoid")

    seen = found(make(), y, STEPS, sample_weight=COUNTING)
    assert (seen == []) == trains(make(), STEPS, y, sample_weight=COUNTING)
    assert all(one.severity == "error" and "those without weight, too" in one.remedy for one in seen)


@pytest.mark.skipif(BACKEND != "jax", reason="the others refuse such labels by themselves")
def test_labels_of_a_class_without_weight_train() -> None:
    y = np.where(LABELS == 2, -1, LABELS)
    model = model_of("sparse_categorical_crossentropy", 3, "softmax")
    plan = fl.Plan(default="train")
    assert fl.fit(model, plan, X, y, class_weight={-1: 0.0}, verbose=0).verification.ok
    with pytest.raises(fl.errors.DataError, match="labels do not fit"):
        fl.fit(model, plan, X, y, class_weight={0: 0.0}, verbose=0)


def test_a_class_that_is_ignored() -> None:
    y = np.where(LABELS == 2, 255, LABELS)
    loss = losses.SparseCategoricalCrossentropy(ignore_class=255)
    partial = functools.partial(losses.sparse_categorical_crossentropy, ignore_class=255)
    assert found(model_of(loss, 3, "softmax"), y) == []
    assert found(model_of(partial, 3, "softmax"), y) == []


# Losses that take rates, distributions, or nothing below zero -----------------------------------------


class Shares(layers.Layer):  # type: ignore[misc]
    """A softmax by hand."""

    def call(self, z: Any) -> Any:
        raised = ops.exp(z - ops.max(z, -1, keepdims=True))
        return raised / ops.sum(raised, -1, keepdims=True)


class Rates(layers.Layer):  # type: ignore[misc]
    def call(self, z: Any) -> Any:
        return ops.exp(z)


COUNTS = rng.poisson(2, (16, 3)).astype("float32")
UP = keras.initializers.Constant(5.0)
DOWN = keras.initializers.Constant(-5.0)
Make = Callable[[], keras.Model]
POSITIVE: dict[str, tuple[Make, Make, Any, str]] = {
    "a divergence of any numbers": (
        lambda: model_of("kl_divergence", 3),
        lambda: model_of("kl_divergence", 3, "softmax"),
        SHARES,
        "and the loss takes it for chances that sum to 1",
    ),
    "a divergence of what does not sum to one": (
        lambda: model_of(losses.KLDivergence(), 3, "sigmoid"),
        lambda: model_of(losses.KLDivergence(), 3, None, Shares()),
        SHARES,
        "and the loss takes them for chances that sum to 1",
    ),
    "rates of any number": (
        lambda: model_of("poisson", 3),
        lambda: model_of("poisson", 3, "softplus"),
        COUNTS,
        "and the loss takes it for rates",
    ),
    "rates that are above zero by chance": (
        lambda: model_of(losses.Poisson(), 3, bias_initializer=UP),
        lambda: model_of(losses.Poisson(), 3, None, Rates()),
        COUNTS,
        "the output has no activation, so that it may be below zero, and the loss takes it for rates",
    ),
    "logarithms of what is below zero": (
        lambda: model_of("mean_squared_logarithmic_error", 3, bias_initializer=DOWN),
        lambda: model_of("mean_squared_logarithmic_error", 3, bias_initializer=UP),
        COUNTS,
        "the output is below zero for 16 of 16 samples",
    ),
    "an overlap of any numbers": (
        lambda: model_of("dice", 3),
        lambda: model_of("dice", 3, "sigmoid"),
        ONE_HOT,
        "and the loss takes it for probabilities",
    ),
    "a focal loss of any numbers": (
        lambda: model_of("categorical_focal_crossentropy", 3),
        lambda: model_of(losses.CategoricalFocalCrossentropy(from_logits=True), 3),
        ONE_HOT,
        "and the loss takes it for probabilities",
    ),
}


@pytest.mark.parametrize("name", POSITIVE)
def test_outputs_that_the_loss_cannot_take(name: str) -> None:
    faulty, mended, y, text = POSITIVE[name]
    (one,) = found(faulty(), y)
    assert one.severity == "warning"
    assert text in one.fact
    assert found(mended(), y) == []


def test_a_linear_output_that_constraints_keep_above_zero_has_rates() -> None:
    above = {"kernel_constraint": "non_neg", "kernel_initializer": "ones", "bias_initializer": UP}
    assert found(model_of("poisson", 3, **above), COUNTS, abs(X)) == []


def test_a_map_that_is_one_distribution() -> None:
    end = [layers.Softmax(name="chances"), layers.Reshape((4, 3, 1))]
    y = rng.dirichlet([1] * 12, 16).reshape(16, 4, 3, 1).astype("float32")
    assert found(model_of("kl_divergence", 12, None, *end), y) == []


@pytest.mark.parametrize("loss", ["poisson", "kl_divergence", "mean_squared_logarithmic_error"])
def test_targets_that_such_a_loss_cannot_take(loss: str) -> None:
    activation = "softmax" if loss == "kl_divergence" else "softplus"
    (one,) = found(model_of(loss, 3, activation), COUNTS - 1)
    assert "and the loss takes numbers from 0" in one.fact


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "categorical_hinge"])
def test_hinges_take_labels_of_both_kinds(loss: str) -> None:
    assert found(model_of(loss, 3, "tanh"), ONE_HOT) == []
    assert found(model_of(loss, 3, "tanh"), 2 * ONE_HOT - 1) == []


# What a loss refuses ----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Make, Any, str, str]] = {
    "labels for one-hot targets": (
        lambda: model_of("categorical_crossentropy", 3, "softmax"),
        LABELS,
        "targets of shape (16,) and an output of shape (16, 3)",
        'loss="sparse_categorical_crossentropy", or y = keras.utils.to_categorical(y, 3)',
    ),
    "a column of labels for one-hot targets": (
        lambda: model_of(losses.CategoricalCrossentropy(), 3, "softmax"),
        LABELS[:, None],
        "targets of shape (16, 1) and an output of shape (16, 3)",
        'loss="sparse_categorical_crossentropy", or y = keras.utils.to_categorical(y, 3)',
    ),
    "one-hot targets for labels": (
        lambda: model_of("sparse_categorical_crossentropy", 3, "softmax"),
        ONE_HOT,
        "targets of shape (16, 3) and an output of shape (16, 3)",
        'loss="categorical_crossentropy", or y.argmax(-1)',
    ),
    "three labels for one unit": (
        lambda: model_of("binary_crossentropy", 1, "sigmoid"),
        ONE_HOT,
        "targets of shape (16, 3) and an output of shape (16, 1)",
        "the last layer as many units",
    ),
}
VERBS: dict[str, Callable[[keras.Model, Any], Any]] = {
    "audit": lambda model, y: fl.audit(model, X, y),
    "why": lambda model, y: fl.why(model, "head/kernel", X, y),
    "why_all": lambda model, y: fl.why_all(model, X, y),
    "what_if": lambda model, y: fl.what_if(model, X, y, block="head"),
    "intermediates": lambda model, y: fl.intermediates(model, X, y),
    "check_gradients": lambda model, y: fl.check_gradients(model, X, y),
    "fit": lambda model, y: fl.fit(model, fl.Plan(default="train"), X, y, verbose=0),
}


def refusal(verb: str, model: keras.Model, y: Any) -> str:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="gradients were not checked")
        with pytest.raises(AuditError) as caught:
            VERBS[verb](model, y)
    return str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("verb", ["audit", "fit"])
def test_shapes_that_a_loss_refuses_are_said(verb: str, name: str) -> None:
    make, y, received, remedy = REFUSED[name]
    text = refusal(verb, make(), y)
    assert "does not take these targets with its output" in text
    assert received in text
    assert remedy in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_so(verb: str) -> None:
    make, y, received, remedy = REFUSED["labels for one-hot targets"]
    text = refusal(verb, make(), y)
    assert received in text
    assert remedy in text


def test_the_loss_that_was_given_is_named() -> None:
    model = model_of("mse", 3, "softmax")
    with pytest.raises(AuditError, match="CategoricalCrossentropy, does not take these targets"):
        fl.audit(model, X, LABELS, loss="categorical_crossentropy")


def for_sixteen(y: Any, p: Any) -> Any:
    if y.shape[0] not in (16, None):
        raise ValueError("made for 16 samples")
    return ops.mean((y - p) ** 2)


def test_what_a_loss_of_ones_own_raises_is_ones_own_and_it_trains_where_it_can() -> None:
    model = model_of(for_sixteen, 1)
    with pytest.raises(ValueError, match="made for 16 samples"):
        fl.audit(model, X[:4], NUMBERS[:4])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="gradients were not checked")
        assert fl.fit(model, fl.Plan(default="train"), X, NUMBERS, batch_size=16, verbose=0).history
