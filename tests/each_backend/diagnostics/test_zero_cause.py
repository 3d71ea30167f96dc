"""A gradient of zero is answered with the operation that hands it back, and how many units are off."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from helpers.checks import values

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")


def model_of(*body: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((4,)), *body, layers.Dense(2, name="head")], name="net")
    model.compile("sgd", "mse")
    return model


def biased(activation: str, biases: Any) -> keras.Model:
    hidden = layers.Dense(8, activation, name="hidden")
    model = model_of(layers.Dense(4, name="low"), hidden)
    hidden.bias.assign(np.broadcast_to(np.float32(biases), (8,)))
    return model


@pytest.mark.parametrize(("activation", "bias"), [("relu", -100.0), ("sigmoid", 1000.0), ("relu6", 100.0)])
def test_all_units_of_a_layer_are_off(activation: str, bias: float) -> None:
    model = biased(activation, bias)
    before = values(model)
    answer = fl.audit(model, X, Y)
    assert {"low/kernel", "hidden/kernel"} <= set(answer.of("zero"))
    (found,) = [one for one in answer.findings if one.code == "FL103"]
    assert "hands back zeros for 8 of 8 units, for every sample (in layer 'hidden')" in found.fact
    note = fl.why(model, "low/kernel", X, Y).note
    assert "hands back zeros for 8 of 8 units, for every sample (in layer 'hidden')" in note
    assert all(map(np.array_equal, before, values(model)))


def test_most_units_are_off() -> None:
    (found,) = fl.audit(biased("relu", [-100.0] * 7 + [1.0]), X, Y).findings
    assert (found.code, found.severity, found.address) == ("FL111", "warning", "hidden")
    assert found.fact.startswith("relu hands back zeros for 7 of 8 units, for every sample")


def test_half_of_the_units_is_usual() -> None:
    assert fl.audit(biased("relu", [-100.0, 1.0] * 4), X, Y).findings == ()


def test_the_users_line_is_named() -> None:
    class Clip(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def call(self, x: Any) -> Any:
            return ops.clip(x, 100.0, 101.0)

    answer = fl.audit(model_of(layers.Dense(4, name="low"), Clip(name="clip")), X, Y)
    (found,) = [one for one in answer.findings if one.code == "FL103"]
    assert "in layer 'clip'" in found.fact
    assert found.where is not None
    assert found.where.file == __file__
    assert found.where.source == "return ops.clip(x, 100.0, 101.0)"


def test_sample_weights_of_zero() -> None:
    answer = fl.audit(model_of(layers.Dense(4, name="low")), X, Y, sample_weight=np.zeros(16, "float32"))
    assert set(answer.statuses.values()) == {"zero"}
    (found,) = [one for one in answer.findings if one.code == "FL103"]
    assert "multiply hands back zeros" in found.fact
