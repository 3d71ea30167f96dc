"""`fl.check_gradients`: right gradients agree with finite differences, wrong ones are caught."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.errors import AuditError
from helpers.checks import values
from helpers.small_models import compiled

rng = np.random.default_rng(0)


@ops.custom_gradient
def tanh_of_a_wrong_slope(x: Any) -> Any:
    def grad(*args: Any, upstream: Any = None) -> Any:
        upstream = args[0] if upstream is None else upstream
        return upstream * 0.9

    return ops.tanh(x), grad


@ops.custom_gradient
def tanh_of_the_right_slope(x: Any) -> Any:
    result = ops.tanh(x)

    def grad(*args: Any, upstream: Any = None) -> Any:
        upstream = args[0] if upstream is None else upstream
        return upstream * (1.0 - result**2)

    return result, grad


class Scaled(keras.layers.Layer):
    """`function` of the input times one weight, plus another."""

    def __init__(self, function: Any) -> None:
        super().__init__(name="scaled")
        self.function = function

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(3,), name="scale")
        self.shift = self.add_weight(shape=(3,), name="shift")

    def call(self, x: Any) -> Any:
        return self.function(x * self.scale) + self.shift


def scaled(function: Any) -> Scaled:
    keras.utils.set_random_seed(0)
    layer = Scaled(function)
    layer.build((None, 3))
    return layer


X = rng.normal(size=(6, 3)).astype("float32")


@pytest.mark.every_backend
def test_a_wrong_custom_gradient_is_caught() -> None:
    check = fl.check_gradients(scaled(tanh_of_a_wrong_slope), X)
    assert check.wrong == ("scale",)
    assert not check.ok


@pytest.mark.every_backend
def test_a_right_one_passes() -> None:
    check = fl.check_gradients(scaled(tanh_of_the_right_slope), X)
    assert check.ok
    assert max(one.error for one in check.checks) < 1e-6


@pytest.mark.every_backend
def test_a_stopped_gradient_is_caught() -> None:
    check = fl.check_gradients(scaled(lambda x: x + ops.stop_gradient(ops.square(x))), X)
    assert check.wrong == ("scale",)


def test_a_recurrent_model_with_dropout_and_normalization_passes_in_float64() -> None:
    keras.utils.set_random_seed(0)
    model = compiled(
        keras.Sequential(
            [
                keras.Input((5, 3)),
                keras.layers.LSTM(4, dropout=0.2, name="lstm"),
                keras.layers.BatchNormalization(name="norm"),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(2, "gelu", name="head"),
            ]
        )
    )
    x = rng.normal(size=(8, 5, 3)).astype("float32")
    before = values(model)
    check = fl.check_gradients(model, x, np.zeros((8, 2), "float32"), directions=3)
    assert check.ok, str(check)
    assert check.dtype == "float64"
    assert len(check.checks) == 7
    after = values(model)
    assert all(np.array_equal(before[address], after[address]) for address in before)
    assert keras.config.floatx() == "float32"
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


@pytest.mark.every_backend
def test_a_wrong_learned_step_is_caught_inside_a_model() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    model = compiled(keras.Model(inputs, keras.layers.Dense(2)(scaled(tanh_of_a_wrong_slope)(inputs))))
    check = fl.check_gradients(model, X, np.zeros((6, 2), "float32"))
    assert check.wrong == ("scaled/scale",)


@pytest.mark.every_backend
def test_mixed_precision_is_checked_in_float64_too() -> None:
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(2, "tanh", name="half", dtype="mixed_bfloat16")
    layer.build((None, 3))
    check = fl.check_gradients(layer, X)
    assert check.ok, str(check)
    assert check.dtype == "float64"


def test_it_prints_both_derivatives() -> None:
    text = str(fl.check_gradients(scaled(tanh_of_a_wrong_slope), X, directions=2))
    assert "Gradients of scaled against finite differences" in text
    *_, verdict, note = text.splitlines()
    assert verdict == "wrong: scale (2 random directions for each weight, computed in float64)"
    assert note == "note: without loss and targets: a random weighting of the outputs stood in for the loss"


def test_nothing_to_check_is_an_error() -> None:
    layer = scaled(ops.tanh)
    layer.trainable = False
    with pytest.raises(AuditError) as caught:
        fl.check_gradients(layer, X)
    assert str(caught.value) == (
        "there is no gradient to check.\n"
        "  received: 0 weights that train, directions=8\n"
        "  expected: at least one weight that trains, and one direction"
    )
