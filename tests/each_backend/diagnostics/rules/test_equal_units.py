"""Units are equal where all kernels that feed them are; what shifts, scales or is looked up is no kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 5, 4)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")
HALF = keras.initializers.Constant(0.5)


def equal(*body: Any, x: Any = X, y: Any = Y, head: Any = HALF) -> list[str]:
    keras.utils.set_random_seed(0)
    last = layers.Dense(1, kernel_initializer=head, name="head")
    model = keras.Sequential([keras.Input(x.shape[1:]), *body, layers.Flatten(), last])
    model.compile("sgd", "mse")
    return [one.address for one in fl.audit(model, x, y).findings if one.code == "FL109"]


class Scaled(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Shifts or scales by a table of two axes, one number for all, and adds up the places."""

    def __init__(self, how: Callable[[Any, Any], Any], start: str) -> None:
        super().__init__(name="scaled")
        self.how, self.start = how, start

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(5, 4), initializer=self.start, name="table")

    def call(self, x: Any) -> Any:
        return ops.sum(self.how(ops.stop_gradient(x), self.table), 1)


@pytest.mark.parametrize("start", ["zeros", "ones"])
def test_a_table_that_is_added(start: str) -> None:
    assert equal(Scaled(lambda x, table: x + table, start)) == []


def test_a_table_that_scales() -> None:
    alike = np.repeat(X[..., :1], 4, axis=-1)
    assert equal(Scaled(lambda x, table: x * table, "ones"), x=alike) == []


@pytest.mark.parametrize("kind", [layers.GRU, layers.LSTM, layers.SimpleRNN])
@pytest.mark.parametrize("data", ["zeros", "numbers"])
def test_biases_of_recurrent_layers(kind: Any, data: str) -> None:
    settings = {"unit_forget_bias": False} if kind is layers.LSTM else {}
    layer = kind(4, bias_initializer="ones", name="rnn", **settings)
    assert equal(layers.Masking(), layer, x=X * (data == "numbers")) == []


@pytest.mark.parametrize("places", [1, 5])
@pytest.mark.parametrize("start", ["zeros", "ones"])
def test_biases_of_attention(places: int, start: str) -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((places, 4))
    attended = layers.MultiHeadAttention(2, 4, bias_initializer=start, name="mha")(x, x)
    model = keras.Model(x, layers.Dense(1, kernel_initializer=HALF)(layers.Flatten()(attended)))
    model.compile("sgd", "mse")
    assert "FL109" not in [one.code for one in fl.audit(model, X[:, :places], Y).findings]


def test_a_second_factor_of_zeros_beside_its_kernel() -> None:
    layer = layers.Dense(6, lora_rank=2, name="lora")
    assert equal(layer) == []

    class Beside(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, shape: Any) -> None:
            self.a = self.add_weight(shape=(4, 2), name="a")
            self.b = self.add_weight(shape=(2, 4), initializer="zeros", name="b")

        def call(self, x: Any) -> Any:
            return x + ops.matmul(ops.matmul(x, self.a), self.b) * 0.5

    assert equal(Beside(name="beside")) == []


def test_kernels_that_differ_in_the_recurrent_one() -> None:
    assert equal(layers.SimpleRNN(4, kernel_initializer=HALF, name="rnn")) == []


@pytest.mark.parametrize(
    ("layer", "kernel"),
    [
        (lambda: layers.Dense(4, "relu", kernel_initializer=HALF, name="a"), "a/kernel"),
        (lambda: layers.Dense(4, "tanh", kernel_initializer="zeros", name="a"), "a/kernel"),
        (lambda: layers.Conv1D(4, 2, kernel_initializer=HALF, name="a"), "a/kernel"),
        (lambda: layers.EinsumDense("abc,cd->abd", (5, 4), kernel_initializer=HALF, name="a"), "a/kernel"),
        (
            lambda: layers.SimpleRNN(4, kernel_initializer=HALF, recurrent_initializer=HALF, name="a"),
            "kernel",
        ),
    ],
    ids=["dense", "zeros", "conv", "einsum", "recurrent"],
)
def test_kernels_of_one_number_are_found(layer: Any, kernel: str) -> None:
    found = equal(layer(), layers.GlobalAveragePooling1D()) if kernel != "kernel" else equal(layer())
    assert any(address.endswith(kernel) for address in found)


def test_in_a_loop_of_ones_own() -> None:
    data = ops.convert_to_tensor(X[:, 0])
    w, b = keras.Variable(np.full((4, 3), 0.5, "float32")), keras.Variable(np.ones((1, 3), "float32"))
    answer = fl.explain(lambda: ops.mean(ops.sum(ops.tanh(data @ w + b), -1) ** 2), {"w": w, "b": b})
    assert "begin with the same numbers" in answer["w"].note
    assert answer["b"].note == ""
