"""Steps that make the loss explode are found before they are made, and so are starts and penalties."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import frostline as fl
from helpers.checks import first_on_each, values

rng = np.random.default_rng(0)
X = rng.normal(size=(32, 4)).astype("float32")
Y = (X[:, :1] - X[:, 1:2]).astype("float32")


def model_of(*body: Any, optimizer: Any = "sgd", loss: Any = "mse") -> keras.Model:
    keras.utils.set_random_seed(4)
    model = keras.Sequential([keras.Input((4,)), *body, layers.Dense(1, name="head")], name="net")
    model.compile(optimizer, loss)
    return model


def hidden(units: int = 8, **settings: Any) -> layers.Layer:
    return layers.Dense(units, "tanh", name="hidden", **settings)


def wide(deviation: float) -> list[layers.Layer]:
    start = keras.initializers.RandomNormal(stddev=deviation, seed=0)
    return [layers.Dense(16, "relu", kernel_initializer=start, name=f"wide_{n}") for n in range(5)]


RUNAWAYS: dict[str, Callable[[], tuple[keras.Model, Any, Any]]] = {
    "a rate far too high": lambda: (model_of(optimizer=optimizers.SGD(10.0)), X, Y),
    "inputs in the hundreds": lambda: (model_of(), 100 * X, Y),
    "targets and a summed loss": lambda: (
        model_of(hidden(), loss=lambda y, p: keras.ops.sum((y - p) ** 2), optimizer=optimizers.SGD(0.1)),
        10 * X,
        1000 * Y,
    ),
    "kernels of deviation one": lambda: (model_of(*wide(1.0), optimizer=optimizers.SGD(0.01)), X, Y),
    "Adam with a rate of 300": lambda: (model_of(optimizer=optimizers.Adam(300.0)), X, Y),
    "momentum": lambda: (model_of(optimizer=optimizers.SGD(10.0, momentum=0.9)), X, Y),
}


def fitted() -> tuple[keras.Model, Any, Any]:
    """Targets that the model gives already, but for a millionth: Adam's first step spoils that."""
    body = [layers.Dense(16, "tanh", name=f"deep_{n}") for n in range(4)]
    model = model_of(*body, optimizer=optimizers.Adam(0.01))
    y = model.predict(X, verbose=0)
    return model, X, y + 1e-6 * rng.normal(size=y.shape).astype("float32")


def alarms(model: keras.Model, x: Any, y: Any) -> list[fl.Finding]:
    return [one for one in fl.audit(model, x, y).findings if one.code == "FL112"]


@pytest.mark.parametrize("name", first_on_each(RUNAWAYS))
def test_training_that_runs_away(name: str) -> None:
    model, x, y = RUNAWAYS[name]()
    before = values(model)
    (found,) = alarms(model, x, y)
    assert found.severity == "warning"
    assert all(map(np.array_equal, before.values(), values(model).values()))
    # It is as the finding says: two real steps on the batch, and the loss has exploded.
    lost = [float(model.test_on_batch(x, y)), *(float(model.train_on_batch(x, y)) for _ in range(3))]
    assert not np.isfinite(lost[3]) or lost[3] > 81 * lost[0]


@pytest.mark.parametrize("name", ["a rate far too high", "inputs in the hundreds", "Adam with a rate of 300"])
def test_the_rate_that_is_advised_holds(name: str) -> None:
    model, x, y = RUNAWAYS[name]()
    (found,) = alarms(model, x, y)
    rate = re.search(r"by these figures (\S+) or less", found.remedy)
    assert rate is not None
    model.optimizer.learning_rate = float(rate.group(1))
    assert alarms(model, x, y) == []
    before = float(model.test_on_batch(x, y))
    for _ in range(20):
        model.train_on_batch(x, y)
    assert float(model.test_on_batch(x, y)) < before


@pytest.mark.parametrize("clip", [{"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 0.01}], ids=str)
def test_clipped_steps_hold(clip: dict[str, float]) -> None:
    model = model_of(optimizer=optimizers.SGD(0.01, **clip))
    assert alarms(model, 100 * X, Y) == []


SOUND: dict[str, Callable[[], tuple[keras.Model, Any, Any]]] = {
    "usual": lambda: (model_of(hidden()), X, Y),
    "a high rate that holds": lambda: (model_of(optimizer=optimizers.SGD(0.3)), X, Y),
    "Adam": lambda: (model_of(hidden(), optimizer="adam"), X, Y),
    "Adam on raw inputs": lambda: (model_of(hidden(), optimizer="adam"), 100 * X, Y),
    "a loss below zero": lambda: (model_of(loss=lambda y, p: -keras.ops.mean(p)), 100 * X, Y),
    "a deep model that fits already": lambda: fitted(),
    "a loss of almost nothing": lambda: (model_of(optimizer="adam"), X, model_of().predict(X, verbose=0)),
}


@pytest.mark.parametrize("name", first_on_each(SOUND))
def test_sound_training(name: str) -> None:
    assert alarms(*SOUND[name]()) == []


def classifier(deviation: float, loss: Any, units: int = 3, activation: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(5)
    start = keras.initializers.RandomNormal(stddev=deviation, seed=0)
    body = layers.Dense(64, "relu", kernel_initializer=start, name="hidden")
    end = layers.Dense(units, activation, kernel_initializer=start, name="head")
    model = keras.Sequential([keras.Input((4,)), body, end])
    model.compile("adam", loss)
    return model


CLASSIFIERS: dict[str, tuple[Any, int, str | None, Any]] = {
    "labels": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), 3, None, np.arange(32) % 3),
    "one hot": ("categorical_crossentropy", 3, "softmax", np.eye(3)[np.arange(32) % 3]),
    "two classes": (keras.losses.BinaryCrossentropy(from_logits=True), 1, None, np.arange(32)[:, None] % 2),
}


@pytest.mark.parametrize("name", first_on_each(CLASSIFIERS))
def test_a_classifier_that_begins_far_worse_than_guessing(name: str) -> None:
    loss, units, activation, y = CLASSIFIERS[name]

    def found(deviation: float) -> list[str]:
        model = classifier(deviation, loss, units, activation)
        return [one.fact for one in fl.audit(model, 10 * X, y).findings if one.code == "FL113"]

    (fact,) = found(1.0)
    assert "that of guessing 0.693" in fact if units == 1 else "that of guessing 1.1" in fact
    assert found(0.01) == []


def penalized(strength: float, **settings: Any) -> keras.Model:
    return model_of(hidden(kernel_regularizer=keras.regularizers.L2(strength), **settings))


class Added(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Adds a loss of its own."""

    def __init__(self, strength: float) -> None:
        super().__init__(name="added")
        self.strength = strength

    def call(self, x: Any) -> Any:
        self.add_loss(self.strength * keras.ops.sum(x**2))
        return x


OUTWEIGHING: dict[str, Callable[[float], keras.Model]] = {
    "L2": penalized,
    "an activity": lambda s: model_of(hidden(activity_regularizer=keras.regularizers.L2(s))),
    "add_loss": lambda s: model_of(hidden(), Added(s)),
}


@pytest.mark.parametrize("name", first_on_each(OUTWEIGHING))
def test_penalties_that_outweigh_the_data(name: str) -> None:
    def found(strength: float) -> list[str]:
        answer = fl.audit(OUTWEIGHING[name](strength), X, Y)
        return [one.fact for one in answer.findings if one.code == "FL114"]

    (fact,) = found(1000.0)
    assert fact.startswith("penalties outweigh the data: they add ")
    assert found(1e-4) == []


@pytest.mark.every_backend
@pytest.mark.parametrize("mild", [0.0, 1e-3, 1.0])
def test_all_penalties_together_decide_and_the_largest_are_named(mild: float) -> None:
    def penalized_head(strength: float) -> keras.Model:
        body = [hidden(), layers.ActivityRegularization(l2=mild, name="active")]
        head = layers.Dense(1, kernel_regularizer=keras.regularizers.L2(strength), name="penal")
        return model_of(*body, head)

    def found(strength: float) -> list[str]:
        findings = fl.audit(penalized_head(strength), X, Y).findings
        return [one.fact for one in findings if one.code == "FL114"]

    (fact,) = found(100.0)
    assert "(penal/kernel " in fact
    assert "times that of the data for penal/kernel" in fact
    assert ("activities of active" in fact) == (mild == 1.0)
    assert found(1e-4) == []


def test_a_model_that_fits_already_is_sound_under_a_mild_penalty() -> None:
    model = penalized(1e-3)
    y = model.predict(X, verbose=0)
    y += 1e-3 * rng.normal(size=y.shape).astype("float32")
    assert [one for one in fl.audit(model, X, y).findings if one.code == "FL114"] == []


def test_a_model_that_a_penalty_holds_at_rest_is_sound() -> None:
    model = penalized(0.01)
    model.fit(X, Y, epochs=200, batch_size=32, verbose=0)
    assert [one for one in fl.audit(model, X, Y).findings if one.code == "FL114"] == []
