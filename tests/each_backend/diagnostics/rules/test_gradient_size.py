"""Small gradients: which of them vanish, and which are what rounding leaves of zero."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")


def codes(*body: Any, optimizer: Any = "sgd") -> dict[str, str]:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,)), *body, layers.Dense(2, name="head")])
    model.compile(optimizer, "mse")
    return {finding.code: finding.fact for finding in fl.audit(model, X, Y).findings}


def chain(initializer: Any, depth: int = 9) -> list[layers.Layer]:
    return [layers.Dense(4, "tanh", kernel_initializer=initializer, name=f"h{n}") for n in range(depth)]


def small() -> Any:
    return keras.initializers.RandomUniform(-0.03, 0.03, seed=1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_kernels_that_all_vanish(optimizer: str) -> None:
    found = codes(*chain(small()), optimizer=optimizer)
    assert found["FL106"].startswith("a step moves no kernel by more than ")
    assert "FL110" not in found  # biases vanish with their kernels, and the loss depends on them


def test_what_the_sign_of_a_gradient_moves_does_not_vanish() -> None:
    assert "moves no kernel" not in codes(*chain(small()), optimizer="lion").get("FL106", "")


def test_a_sound_chain_is_clean() -> None:
    assert codes(*chain("glorot_uniform")) == {}


def test_a_shift_in_front_of_a_normalization() -> None:
    found = codes(layers.Dense(8, name="a"), layers.BatchNormalization(name="norm"))
    assert list(found) == ["FL110"]
    assert found["FL110"].startswith(
        "the gradient with respect to a/bias is what rounding leaves of zero: at most "
    )
    assert codes(layers.Dense(8, name="a", use_bias=False), layers.BatchNormalization(name="norm")) == {}


class Scalar(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """One number for all units: added to them, or multiplied with them."""

    def __init__(self, does: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.does = does

    def build(self, shape: Any) -> None:
        self.number = self.add_weight(shape=(), initializer="ones", name="number")

    def call(self, x: Any) -> Any:
        return x + self.number if self.does == "add" else x * self.number


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("does", "behind", "idle"),
    [
        ("add", layers.Softmax(), True),
        ("multiply", layers.Softmax(), False),
        ("multiply", layers.LayerNormalization(epsilon=1e-9), True),
        ("add", layers.LayerNormalization(epsilon=1e-9), True),
        ("add", layers.Activation("tanh"), False),
    ],
)
def test_one_number_that_what_follows_takes_out_again(does: str, behind: layers.Layer, idle: bool) -> None:
    again = behind.__class__.from_config(behind.get_config())
    found = codes(layers.Dense(6, name="a", use_bias=False), Scalar(does, name="s"), again)
    assert ("FL110" in found) == idle
    if idle:
        assert found["FL110"].startswith(
            "the loss stays the same, but for rounding, with other numbers in s/number: half as large again"
        )


@pytest.mark.every_backend
@pytest.mark.parametrize("samples", [8, 12, 14])
def test_what_only_cancels_over_this_batch_has_an_effect(samples: int) -> None:
    """Half of the targets far above, half far below: a shift of outputs leaves mean absolute errors alone."""
    y = np.where(np.arange(samples)[:, None] % 2, 9.0, -9.0).astype("float32")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="d")])
    model.compile("sgd", "mae")
    answer = fl.audit(model, X[:samples], y)
    assert (answer.findings, answer.ok) == ((), True)
