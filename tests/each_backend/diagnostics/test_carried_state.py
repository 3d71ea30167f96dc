"""A gradient of zero that is there only until a batch has left its state behind."""

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
X, Y = rng.normal(size=(16, 1, 3)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
IS_JAX = keras.backend.backend() == "jax"


def moved(model: keras.Model, x: Any, y: Any) -> dict[str, bool]:
    before = [ops.convert_to_numpy(w).copy() for w in model.trainable_variables]
    model.fit(x, y, epochs=4, batch_size=16, shuffle=False, verbose=0)
    pairs = zip(model.trainable_variables, before, strict=True)
    return {w.path: bool(np.any(ops.convert_to_numpy(w) != old)) for w, old in pairs}


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.GRU, layers.LSTM])
def test_a_stateful_layer_with_one_step_a_batch(kind: Any) -> None:
    if kind is not layers.SimpleRNN and keras.backend.backend() == "torch":
        pytest.skip("Keras assigns to states that PyTorch still needs for gradients, so that fit raises")
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(16, 1, 3))
    model = keras.Model(x, layers.Dense(2, name="h")(kind(4, stateful=True, name="r")(x)))
    model.compile("sgd", "mse")
    before = values(model)
    states = [ops.convert_to_numpy(one).copy() for one in model.get_layer("r").states]
    audit = fl.audit(model, X, Y)
    assert all(map(np.array_equal, before, values(model)))
    after = [ops.convert_to_numpy(one) for one in model.get_layer("r").states]
    assert all(map(np.array_equal, states, after))
    (name,) = [address for address in audit.statuses if address.endswith("recurrent_kernel")]
    note = fl.why(model, name, X, Y).note
    # Keras on JAX hands on only what is among `non_trainable_variables`, and this state is not.
    if not moved(model, X, Y)[name]:
        assert IS_JAX
        assert audit.statuses[name] == "zero"
        assert any("does not hand it on from batch to batch" in one for one in audit.notes)
        return
    assert (audit.statuses[name], audit.findings) == ("trains", ())
    assert note.endswith("it gets one as soon as a batch has left its state behind")


class Warming(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Lets a branch in by and by: a counter of batches weighs it, from zero on."""

    def __init__(self, *, counts: bool) -> None:
        super().__init__(name="warm")
        self.counts = counts

    def build(self, shape: Any) -> None:
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.branch = layers.Dense(shape[-1], name="branch")
        self.branch.build(shape)

    def call(self, x: Any) -> Any:
        weight = ops.minimum(self.count / 2, 1.0)
        if self.counts:
            self.count.assign(self.count + 1)
        return x + weight * self.branch(x)


@pytest.mark.parametrize("counts", [True, False])
def test_a_branch_that_a_counter_lets_in(counts: bool) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), Warming(counts=counts), layers.Dense(2, name="h")])
    model.compile("sgd", "mse")
    audit = fl.audit(model, X[:, 0], Y)
    assert float(model.layers[0].count) == 0
    assert audit.statuses["warm/branch/kernel"] == ("trains" if counts else "zero")
    assert moved(model, X[:, 0], Y)[_path(model)] == counts


def _path(model: keras.Model) -> str:
    return str(model.layers[0].branch.kernel.path)


def test_state_that_opens_nothing_changes_nothing() -> None:
    keras.utils.set_random_seed(0)
    dead = layers.Dense(4, "relu", bias_initializer=keras.initializers.Constant(-99.0), name="dead")
    body = [layers.BatchNormalization(), dead, layers.Dense(2, name="h")]
    model = keras.Sequential([keras.Input((3,)), *body])
    model.compile("sgd", "mse")
    audit = fl.audit(model, X[:, 0], Y)
    assert (audit.statuses["dead/kernel"], audit.notes) == ("zero", ())
