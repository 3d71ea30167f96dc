"""Units that an activation switches off are dead; those that a mask leaves out are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import activations, layers, ops

import frostline as fl

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
MOSTLY_OFF = np.float32([-200.0] * 7 + [1.0])


def dead(model: keras.Model, x: Any = X, y: Any = Y) -> list[str]:
    return [one.address for one in fl.audit(model, x, y).findings if one.code == "FL111"]


def biased(function: Any, biases: Any = MOSTLY_OFF) -> keras.Model:
    keras.utils.set_random_seed(2)
    low = layers.Dense(8, name="low")
    body = [low, layers.Activation(function, name="act"), layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *body])
    low.kernel.assign(np.random.default_rng(2).normal(size=(4, 8)))  # the same on each backend
    low.bias.assign(biases)
    model.compile("sgd", "mse")
    return model


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(activations, name) for name in ("relu", "relu6", "sigmoid", "hard_sigmoid", "tanh")},
    **{name: getattr(activations, name) for name in ("hard_tanh", "elu", "gelu", "silu", "mish")},
    "threshold": lambda x: activations.relu(x, threshold=1.0),
    "maximum": lambda x: ops.maximum(x, 0.0),
    "clip": lambda x: ops.clip(x, 0.0, 1.0),
    "where": lambda x: ops.where(x > 0, x, 0.0),
    "product with what the units are": lambda x: x * ops.cast(x > 0, "float32"),
    "squared": lambda x: ops.square(ops.relu(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_whatever_the_activation_is_made_of(name: str) -> None:
    assert dead(biased(ACTIVATIONS[name])) == ["act"]


def test_an_activation_in_the_call_of_the_model() -> None:
    class Net(keras.Model):  # type: ignore[misc]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__()
            self.low, self.head = layers.Dense(8, name="low"), layers.Dense(2, name="head")

        def call(self, x: Any) -> Any:
            return self.head(ops.relu(self.low(x)))

    model = Net()
    model.compile("sgd", "mse")
    model(X)
    model.low.bias.assign(MOSTLY_OFF)
    assert dead(model) == [""]


def test_the_advice_helps() -> None:
    (found,) = fl.audit(biased("relu"), X, Y).findings
    assert found.remedy.startswith("begin with smaller biases")
    assert "never quite off (leaky_relu)" in found.remedy
    assert dead(biased("relu", MOSTLY_OFF / 100)) == []
    assert dead(biased("leaky_relu")) == []
    raw = np.abs(X).repeat(2, axis=1)[:, :4] * 1e4
    assert dead(saturated(), raw) == ["act"]
    assert dead(saturated(), raw / 1e4) == []


def saturated() -> keras.Model:
    """Sigmoids that large inputs saturate, but for one unit."""
    model = biased("sigmoid", np.zeros(8))
    model.layers[0].kernel.assign(np.float32([[1.0] * 7 + [0.0]] * 4))
    return model


def of_actions(y: Any, p: Any) -> Any:
    """The loss of Q-learning: the value of the action that was taken."""
    taken = ops.one_hot(ops.cast(y[:, 0], "int32"), 10)
    return ops.mean((y[:, 1] - ops.sum(taken * p, -1)) ** 2)


def of_tasks(y: Any, p: Any) -> Any:
    """The loss of those tasks that have a label: -1 stands for none."""
    known = ops.cast(y > -0.5, "float32")
    return ops.sum(known * (y - p) ** 2) / ops.sum(known)


def of_chosen(y: Any, p: Any) -> Any:
    """The same by `where`."""
    return ops.mean(ops.where(y > -0.5, (y - p) ** 2, 0.0))


def of_margins(y: Any, p: Any) -> Any:
    """A hinge that eight of ten have left behind for all samples."""
    return ops.mean(ops.relu(p - 1000.0 * ops.cast(ops.arange(10) > 1, "float32")))


TASKS = -np.ones((16, 10), "float32")
TASKS[:, :2] = np.abs(Y)
ACTIONS = np.stack([np.arange(16) % 2, Y[:, 0]], 1).astype("float32")


@pytest.mark.parametrize(
    ("loss", "y"),
    [(of_actions, ACTIONS), (of_tasks, TASKS), (of_chosen, TASKS), (of_margins, TASKS)],
    ids=["actions", "tasks", "chosen", "margins"],
)
def test_what_the_loss_leaves_out_is_alive(loss: Any, y: Any) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(10, name="out")])
    model.compile("sgd", loss)
    assert dead(model, X, y) == []


class Masked(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Leaves out eight of ten units by a mask, in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__(name="masked")
        self.way = way

    def call(self, x: Any, mask: Any) -> Any:
        weight = ops.cast(mask, "float32")
        if self.way == "product":
            return x * weight
        if self.way == "relu of a product":
            return ops.relu(x * weight)
        if self.way == "where":
            return ops.where(mask, x, 0.0)
        scores = ops.where(mask, x, -1e9) if self.way == "softmax" else x - 1e9 * (1.0 - weight)
        if self.way == "sigmoid":
            return ops.sigmoid(scores)
        if self.way == "exp":
            e = ops.exp(scores - ops.max(scores, -1, keepdims=True))
            return e / ops.sum(e, -1, keepdims=True)
        return ops.softmax(scores)


@pytest.mark.parametrize("way", ["product", "relu of a product", "where", "softmax", "sum", "exp", "sigmoid"])
def test_what_a_mask_leaves_out_is_alive(way: str) -> None:
    keras.utils.set_random_seed(0)
    x, open_places = keras.Input((4,)), keras.Input((10,), dtype="bool")
    hidden = Masked(way)(layers.Dense(10, name="low")(x), open_places)
    model = keras.Model([x, open_places], layers.Dense(2, name="head")(hidden))
    model.compile("sgd", "mse")
    assert dead(model, [X, np.broadcast_to(np.arange(10) < 2, (16, 10)).copy()]) == []


@pytest.mark.parametrize("flash", [False, None])
def test_padding_under_attention(flash: bool | None) -> None:
    keras.utils.set_random_seed(0)
    x, real = keras.Input((20, 4)), keras.Input((20,), dtype="bool")
    low = layers.Dense(4, name="low")(x)
    attended = layers.MultiHeadAttention(2, 4, flash_attention=flash)(low, low, attention_mask=real[:, None])
    weight = ops.cast(real, "float32")[..., None]
    model = keras.Model([x, real], layers.Dense(10, name="q")(ops.sum((low + attended) * weight, 1) / 3))
    model.compile("sgd", of_actions)
    mask = np.broadcast_to(np.arange(20) < 3, (16, 20)).copy()
    assert dead(model, [rng.normal(size=(16, 20, 4)).astype("float32"), mask], ACTIONS) == []
