"""To look at a model is to call it; what layers hold beside their variables is as before all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    pytest.skip("a layer on JAX holds variables of Keras alone", allow_module_level=True)

pytestmark = pytest.mark.every_backend

DATA = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")

if BACKEND == "tensorflow":
    import tensorflow as tf

    class Inner(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = tf.Variable(0, trainable=False)

    class Counts(keras.layers.Layer):
        """Counts calls in a variable of TensorFlow's, one in a module, and draws from a generator."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.total = tf.Variable(0.0, trainable=False)
            self.inner, self.noise = Inner(), tf.random.Generator.from_seed(1)

        def call(self, x: Any) -> Any:
            self.total.assign_add(1.0)
            self.inner.calls.assign_add(1)
            return x + 0.1 * self.noise.normal(tf.shape(x), dtype=x.dtype)

    def memory(layer: Any) -> list[Any]:
        held = (layer.total, layer.inner.calls, layer.noise.state)
        return [one.numpy().tolist() for one in held]

else:
    import torch

    class Inside(torch.nn.Module):
        """Keeps a buffer, a tensor, what it saw first, a number, and a generator."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.mean, self.first, self.steps = torch.zeros(()), None, 0
            self.noise = torch.Generator().manual_seed(1)

        def forward(self, x: Any) -> Any:
            if self.first is None:
                self.first = x.detach().mean()
            self.calls, self.mean, self.steps = self.calls + 1, self.mean * 0.9 + 1, self.steps + 1
            self.late = self.steps
            return x + 0.1 * torch.rand(x.shape, generator=self.noise)

    class Counts(keras.layers.Layer):
        """The same inside a layer, and a counter of its own."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.module, self.own, self.number = Inside(), torch.zeros(()), 0

        def call(self, x: Any) -> Any:
            if x.device.type != "meta":
                self.own, self.number = self.own + 1, self.number + 1
                x = self.module(x)
            return x

    def memory(layer: Any) -> list[Any]:
        inside = layer.module.module  # Keras has wrapped it
        held = [inside.calls, inside.mean, inside.first, inside.steps, layer.own, layer.number]
        found = [one.tolist() if isinstance(one, torch.Tensor) else one for one in held]
        return [*found, inside.noise.get_state().tolist(), hasattr(inside, "late")]


def counting() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), Counts(name="counts"), keras.layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model


LOOKS: dict[str, Callable[[keras.Model], Any]] = {
    "audit": lambda model: fl.audit(model, *DATA),
    "why": lambda model: fl.why(model, "head/kernel", *DATA),
    "check_gradients": lambda model: fl.check_gradients(model, *DATA, directions=1),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_leaves_it_as_it_was(name: str) -> None:
    model = counting()
    before = memory(model.get_layer("counts"))
    LOOKS[name](model)
    assert memory(model.get_layer("counts")) == before


def test_gradients_are_checked_with_the_same_noise() -> None:
    assert fl.check_gradients(counting(), *DATA, directions=2).ok


def test_a_run_begins_as_if_nobody_had_looked(tmp_path: Any) -> None:
    plan = fl.Plan().train("head/**").assigned("counts/**")
    looked, plain = counting(), counting()
    common: dict[str, Any] = {"epochs": 1, "batch_size": 2, "verbose": 0}
    fl.fit(looked, plan, *DATA, resume=tmp_path / "run", **common)  # which looks before the first step
    fl.apply(plain, plan)
    plain.fit(*DATA, **common)
    assert memory(looked.get_layer("counts")) == memory(plain.get_layer("counts"))
    assert np.array_equal(looked.get_layer("head").kernel, plain.get_layer("head").kernel)
