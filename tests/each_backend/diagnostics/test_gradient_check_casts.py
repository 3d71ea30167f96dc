"""`fl.check_gradients` where something on the way is computed in less than float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X = rng.normal(size=(8, 4)).astype("float32")
Y = np.eye(3, dtype="float32")[np.arange(8) % 3]


class Through(keras.layers.Layer):
    """`function` of the input times a weight."""

    def __init__(self, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x: Any) -> Any:
        return self.function(x * self.scale)


def model_through(function: Any = lambda x: x, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, "tanh", name="a"), Through(function, name="through", **options)]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3, "softmax", name="b")])


def in_float32(y: Any, predicted: Any) -> Any:
    return ops.mean(ops.square(ops.cast(y, "float32") - ops.cast(predicted, "float32")))


LOSSES = {
    "mse": lambda: keras.losses.MeanSquaredError(),
    "crossentropy": lambda: keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    "huber": lambda: keras.losses.Huber(reduction="sum"),
    "dtype": lambda: keras.losses.LogCosh(dtype="float32"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_object_computes_in_float64(name: str) -> None:
    check = fl.check_gradients(model_through(), X, Y, loss=LOSSES[name](), directions=2)
    assert check.ok, str(check)
    assert check.dtype == "float64"
    assert not check.narrowed


def test_a_compiled_loss_object_computes_in_float64() -> None:
    model = model_through()
    model.compile("sgd", keras.losses.KLDivergence())
    check = fl.check_gradients(model, X, Y, directions=2)
    assert check.ok, str(check)
    assert check.dtype == "float64"


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_layer_of_another_policy_computes_in_float64(dtype: str) -> None:
    check = fl.check_gradients(model_through(ops.tanh, dtype=dtype), X, Y, loss="mse", directions=2)
    assert check.ok, str(check)
    assert check.dtype == "float64"


def test_a_loss_that_casts_to_float32_is_said_to() -> None:
    check = fl.check_gradients(model_through(), X, Y, loss=in_float32, directions=2)
    assert check.ok, str(check)
    assert check.dtype == "float32"
    assert "gives float32" in str(check)
    assert "computed in float32)" in str(check)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_cast_inside_a_layer_is_said_and_is_no_error(dtype: str) -> None:
    def narrowed(x: Any) -> Any:
        return ops.cast(ops.tanh(ops.cast(x, dtype)), x.dtype)

    check = fl.check_gradients(model_through(narrowed), X, Y, loss="mse", directions=3)
    assert not check.wrong, str(check)
    assert check.dtype == dtype
    assert "'through'" in check.narrowed


def test_a_wrong_gradient_is_caught_behind_a_cast() -> None:
    def half(x: Any) -> Any:  # The slope is twice what the gradient says.
        return 0.5 * x + ops.stop_gradient(0.5 * x)

    def narrowed(x: Any) -> Any:
        return ops.cast(half(ops.cast(x, "float32")), x.dtype)

    check = fl.check_gradients(model_through(narrowed), X, Y, loss="mse", directions=3)
    assert check.dtype == "float32"
    assert check.wrong == ("a/kernel", "a/bias", "through/scale")


def test_a_cast_of_what_no_weight_reaches_does_not_count() -> None:
    def noisy(x: Any) -> Any:
        return x + ops.cast(ops.cast(ops.sqrt(ops.ones(5, x.dtype) * 0.3), "float32"), x.dtype)

    check = fl.check_gradients(model_through(noisy), X, Y, loss="mse", directions=2)
    assert check.dtype == "float64"
    assert check.ok


def test_what_rounding_hides_is_not_called_right() -> None:
    def hidden(x: Any) -> Any:
        return ops.cast(ops.cast(1e4 + 1e-3 * x, "float16"), x.dtype) - 1e4

    check = fl.check_gradients(model_through(hidden), X, Y, loss="mse", directions=2)
    assert not check.ok
    assert check.untold
    assert "rounding hides these gradients" in str(check)


def test_what_there_was_no_time_for_is_listed() -> None:
    check = fl.check_gradients(model_through(), X, Y, loss="mse", seconds=0)
    assert not check.ok
    assert check.unchecked == ("a/kernel", "a/bias", "through/scale", "b/kernel", "b/bias")
    assert "not checked, since the time was up: a/kernel, " in str(check)


def test_each_weight_is_tried_once_before_any_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(np.arange(1000) * 10.0)
    monkeypatch.setattr("frostline.diagnostics.gradient_check.time.monotonic", lambda: next(now))
    check = fl.check_gradients(model_through(), X, Y, loss="mse", seconds=70)
    assert [one.directions for one in check.checks] == [2, 2, 1, 1, 1]
    assert check.ok
    assert "1 of 8 random directions for each weight" in str(check)
    assert "seconds=None tries them all" in str(check)
