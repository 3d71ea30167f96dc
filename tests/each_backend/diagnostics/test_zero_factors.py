"""A gradient of zero is answered with the factor that is zero; "cancels" is said where something cancels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
IMAGES = rng.normal(size=(16, 6, 6, 1)).astype("float32")
OFF = keras.initializers.Constant(-99.0)


def model_of(*body: Any, shape: tuple[int, ...] = (4,)) -> keras.Model:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input(shape), *body, layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model


def told(model: keras.Model, address: str, x: Any = X, y: Any = Y, **settings: Any) -> fl.Explanation:
    answer = fl.why(model, address, x, y, **settings)
    assert answer.status == "zero"
    return answer


class Scale(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Multiplies by one weight or more."""

    def __init__(self, *starts: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.starts = starts

    def build(self, shape: Any) -> None:
        self.scales = [
            self.add_weight(shape=(shape[-1],), initializer=start, name=f"k{place}")
            for place, start in enumerate(self.starts)
        ]

    def call(self, x: Any) -> Any:
        for scale in self.scales:
            x = x * scale
        return x


@pytest.mark.parametrize(
    ("layer", "weight"),
    [
        (lambda: layers.LayerNormalization(name="next"), "next/gamma"),
        (lambda: layers.GroupNormalization(2, name="next"), "next/gamma"),
        (lambda: Scale("ones", name="next"), "next/k0"),
    ],
    ids=["layer_norm", "group_norm", "multiply"],
)
def test_nothing_cancels_where_the_units_before_are_off(layer: Any, weight: str) -> None:
    dead = layers.Dense(4, "relu", bias_initializer=OFF, name="dead")
    answer = told(model_of(dead, layer()), weight)
    assert "adds up" not in answer.note
    assert "cancel" not in answer.note + answer.remedy
    assert "hands back zeros" in answer.note


def test_the_dead_units_are_named_behind_a_scale_of_images() -> None:
    dead = layers.Conv2D(4, 3, activation="relu", bias_initializer=OFF, name="dead")
    body = (dead, Scale("ones", name="scale"), layers.GlobalAveragePooling2D())
    answer = told(model_of(*body, shape=(6, 6, 1)), "scale/k0", IMAGES)
    assert "given nothing but zeros by relu in layer 'dead'" in answer.note


def test_nothing_cancels_where_a_slope_is_never_used() -> None:
    ones = layers.Dense(4, kernel_initializer="ones", bias_initializer="ones", name="low")
    answer = told(model_of(ones, layers.PReLU(name="slope")), "slope/alpha", abs(X))
    assert "cancel" not in answer.note + answer.remedy
    assert "adds up" not in answer.note


def test_two_factors_of_zero_name_each_other() -> None:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    low = layers.Dense(4, name="low")(x)
    high = layers.Dense(4, "tanh", name="high")(low)
    model = keras.Model(x, layers.Dense(2, name="head")(low + Scale("zeros", "zeros", name="gate")(high)))
    model.compile("sgd", "mse")
    assert "gate/k0 is zero in every element" in told(model, "gate/k1").note
    assert "gate/k1 is zero in every element" in told(model, "gate/k0").note
    assert "put other numbers into gate/k1" in told(model, "high/kernel").remedy


def test_a_frozen_gamma_of_zero() -> None:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    low = layers.Dense(4, name="low")(x)
    norm = layers.BatchNormalization(gamma_initializer="zeros", trainable=False, name="norm")
    model = keras.Model(x, layers.Dense(2, name="head")(low + norm(layers.Dense(4, name="side")(low))))
    model.compile("sgd", "mse")
    answer = told(model, "side/kernel")
    assert "norm/gamma is zero in every element" in answer.note
    norm.gamma.assign(np.ones(4, "float32"))
    assert fl.why(model, "side/kernel", X, Y).status == "trains"


def test_a_frozen_kernel_of_zero() -> None:
    zero = layers.Conv2D(4, 1, kernel_initializer="zeros", trainable=False, name="zero")
    model = model_of(layers.Conv2D(4, 3, name="low"), zero, layers.GlobalAveragePooling2D(), shape=(6, 6, 1))
    answer = told(model, "low/kernel", IMAGES)
    assert "zero/kernel is zero in every element" in answer.note
    assert answer.remedy.startswith("put other numbers into zero/kernel")


def test_each_of_two_layers_of_zeros_gets_its_own_reason() -> None:
    keras.utils.set_random_seed(2)
    low = layers.Dense(4, "tanh", kernel_initializer="zeros", name="low")
    head = layers.Dense(2, kernel_initializer="zeros", name="head")
    model = keras.Sequential([keras.Input((4,)), low, head])
    model.compile("sgd", "mse")
    assert "head/kernel is zero in every element" in told(model, "low/kernel").note
    assert "low/kernel is zero in every element" in told(model, "head/kernel").note
    answer = fl.audit(model, X, Y)
    assert [one.code for one in answer.findings] == ["FL103", "FL103"]
    assert str(answer).count("FL103 warning") == 2


def test_weights_with_one_reason_are_one_finding() -> None:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    hidden = [layers.Dense(4, name=name)(x) for name in ("one", "two")]
    zero = layers.Dense(2, kernel_initializer="zeros", trainable=False, name="zero")
    model = keras.Model(x, zero(hidden[0]) + zero(hidden[1]) + layers.Dense(2, name="head")(x))
    model.compile("sgd", "mse")
    answer = fl.audit(model, X, Y)
    (found,) = [one for one in answer.findings if one.code == "FL103"]
    assert "one/kernel" in found.fact
    assert "two/kernel" in found.fact


def two_outputs(**settings: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    trunk = layers.Dense(8, "tanh", name="trunk")(x)
    model = keras.Model(x, [layers.Dense(2, name="first")(trunk), layers.Dense(2, name="second")(trunk)])
    model.compile("sgd", ["mse", "mse"], **settings)
    return model


def test_a_loss_weight_of_zero() -> None:
    answer = told(two_outputs(loss_weights=[1.0, 0.0]), "second/kernel", X, [Y, Y])
    assert "loss_weights=[1.0, 0.0] of compile() has a zero for it" in answer.note
    assert answer.remedy.startswith("give that loss a weight other than zero")


def test_loss_weights_are_not_blamed_for_what_is_dead() -> None:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    dead = layers.Dense(4, "relu", bias_initializer=OFF, name="dead")(x)
    model = keras.Model(x, [layers.Dense(2, name="first")(dead), layers.Dense(2, name="second")(x)])
    model.compile("sgd", ["mse", "mse"], loss_weights=[1.0, 0.0])
    assert "relu" in told(model, "dead/kernel", X, [Y, Y]).note


def test_sample_weights_of_zero_are_named() -> None:
    answer = told(model_of(), "head/kernel", sample_weight=np.zeros(16, "float32"))
    assert "sample_weight is zero in every element" in answer.note
    assert answer.remedy == "try a batch in which sample_weight is not zero throughout"


def test_data_of_zeros_are_named() -> None:
    answer = told(model_of(), "head/kernel", np.zeros_like(X))
    assert "x is zero in every element" in answer.note


def test_what_cancels_is_said_to_cancel() -> None:
    """Each sample's own gradient is zero, and a sum of terms that are not."""

    class Apart(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, shape: Any) -> None:
            self.shift = self.add_weight(shape=(), initializer="ones", name="shift")

        def call(self, x: Any) -> Any:
            both = x * self.shift
            return both[:, :2] - both[:, 2:]

    model = keras.Sequential([keras.Input((4,)), Apart(name="apart")])
    model.compile("sgd", "mse")
    whole = np.float32([[1, 2, 1, 2], [3, 4, 3, 4]])
    assert "adds up to zero" in told(model, "apart/shift", whole, np.ones((2, 2), "float32")).note
