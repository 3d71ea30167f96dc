"""FL402 and FL503 beside layers that give something else at each call, or hold what nobody tracks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl

pytestmark = pytest.mark.every_backend

X = np.random.default_rng(0).random((8, 5)).astype("float32")
Y = np.zeros((8, 4), "float32")


def codes(model: Any) -> set[str]:
    model.compile("sgd", "mse")
    return {finding.code for finding in fl.audit(model, X, Y).findings}


def behind_frozen(odd: Any) -> Any:
    """A frozen prefix with a layer in it, and a head that trains."""
    frozen = [layers.Dense(5, trainable=False, name=f"frozen_{n}") for n in range(3)]
    return keras.Sequential([keras.Input((5,)), odd, *frozen, layers.Dense(4, name="head")])


class FreshLayer(layers.Layer):
    def call(self, x: Any) -> Any:
        return layers.Dense(5, trainable=False, kernel_initializer="ones", name="new")(x)


class FreshInside(layers.Layer):
    """The layer that it holds makes one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = FreshLayer(name="inner")

    def call(self, x: Any) -> Any:
        return self.inner(x)


class FromNumPy(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.add(x, np.random.random(5).astype("float32"))


class Unseeded(layers.Layer):
    def call(self, x: Any) -> Any:
        return x + keras.random.normal((5,))


class Counting(layers.Layer):
    """Adds how often it was called."""

    def build(self, shape: Any) -> None:
        self.count = self.add_weight(shape=(), trainable=False, initializer="zeros", name="count")

    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return x + self.count


class CountingInPython(layers.Layer):
    calls = 0

    def call(self, x: Any) -> Any:
        type(self).calls += 1
        return x + 0.1 * type(self).calls


class Steady(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.tanh(x)


UNSTEADY = (FreshLayer, FreshInside, FromNumPy, Unseeded, Counting, CountingInPython)


@pytest.mark.parametrize("layer", UNSTEADY)
def test_a_prefix_that_changes_is_not_worth_caching(layer: Any) -> None:
    if layer is Unseeded and keras.backend.backend() == "jax":
        pytest.skip("Keras refuses that on JAX")
    assert "FL503" not in codes(behind_frozen(layer(name="odd")))


def test_a_steady_prefix_is() -> None:
    assert "FL503" in codes(behind_frozen(Steady(name="odd")))


@pytest.mark.parametrize("layer", [FromNumPy, Unseeded, CountingInPython])
def test_a_model_that_changes_has_no_incomplete_config_for_that(layer: Any) -> None:
    if layer is Unseeded and keras.backend.backend() == "jax":
        pytest.skip("Keras refuses that on JAX")
    assert "FL402" not in codes(behind_frozen(layer(name="odd")))


class Holding(layers.Layer):
    """Holds a variable where Keras does not look, and a factor that its configuration may leave out."""

    def __init__(self, factor: float = 1.0, complete: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.factor, self.complete = factor, complete
        self.inside = self.made()

    def made(self) -> Any:
        return SimpleNamespace(scale=keras.Variable(np.random.random(5).astype("float32"), name="scale"))

    def scaled(self, x: Any) -> Any:
        return x * self.inside.scale

    def call(self, x: Any) -> Any:
        return self.scaled(x) * self.factor

    def get_config(self) -> dict[str, Any]:
        kept = {"factor": self.factor} if self.complete else {}
        return {**super().get_config(), "complete": self.complete, **kept}


class HoldingLayer(Holding):
    """A layer in a namespace."""

    def made(self) -> Any:
        layer = layers.Dense(5, name="hidden")
        layer.build((None, 5))
        return SimpleNamespace(deep=[SimpleNamespace(layer=layer)])

    def scaled(self, x: Any) -> Any:
        return self.inside.deep[0].layer(x)


SHARED = keras.Variable(np.random.random(5).astype("float32"), name="shared")


class HoldingShared(Holding):
    """A variable of the module."""

    def made(self) -> Any:
        return None

    def scaled(self, x: Any) -> Any:
        return x * SHARED


@pytest.mark.parametrize("layer", [Holding, HoldingLayer, HoldingShared])
def test_an_incomplete_config_is_found_beside_an_untracked_variable(layer: Any) -> None:
    found = codes(behind_frozen(layer(3.0, complete=False, name="holding")))
    assert {"FL105", "FL402"} <= found


@pytest.mark.parametrize("layer", [Holding, HoldingLayer, HoldingShared])
def test_a_complete_one_is_not_called_incomplete_for_it(layer: Any) -> None:
    found = codes(behind_frozen(layer(3.0, name="holding")))
    assert "FL105" in found
    assert "FL402" not in found
