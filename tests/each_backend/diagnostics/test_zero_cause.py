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
    found = next(one for one in answer.findings if one.address == "low/kernel")
    assert found.code == "FL103"
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


def test_each_weight_gets_its_own_cause() -> None:
    x = keras.Input((4,), name="x")
    dead = layers.Dense(3, "relu", bias_initializer=keras.initializers.Constant(-100), name="dead")(x)
    full = layers.Dense(3, "sigmoid", bias_initializer=keras.initializers.Constant(1000), name="full")(x)
    model = keras.Model(x, layers.Dense(2, name="head")(layers.Concatenate()([dead, full])))
    model.compile("sgd", "mse")
    answer = fl.audit(model, X, Y)
    notes = {name: one.note for name, one in answer.explanations.items()}
    assert "relu hands back zeros" in notes["dead/kernel"]
    assert "(in layer 'dead')" in notes["dead/kernel"]
    assert "hands back zeros for 3 of 3 units, for every sample (in layer 'full')" in notes["full/kernel"]
    facts = [one.fact for one in answer.findings if one.code == "FL103"]
    assert len(facts) == 2
    assert all(("dead/kernel" in fact) != ("full/kernel" in fact) for fact in facts)


def test_what_could_not_be_looked_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.diagnostics import zeroes

    def refuses(computation: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(zeroes.dispatch, "zeroing", refuses)
    answer = fl.audit(biased("relu", -100.0), X, Y)
    assert "hidden/kernel" in answer.of("zero")
    assert answer.notes == (
        "which operation hands back zeros was not seen: looking for it ended in RuntimeError: no such kernel",
    )


def test_gradients_that_cancel() -> None:
    class Cancelling(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def call(self, x: Any) -> Any:
            return ops.exp(x) - ops.exp(x)

    answer = fl.audit(model_of(layers.Dense(4, name="low"), Cancelling(name="none")), X, Y)
    assert {"low/kernel", "low/bias"} <= set(answer.of("zero"))
    if keras.backend.backend() != "torch":  # which adds up gradients where nobody sees the parts
        assert "cancels what comes back beside it (" in answer.explanations["low/kernel"].note


def causes(model: keras.Model, x: Any = X, y: Any = Y) -> dict[str, str]:
    return {one.address: one.fact for one in fl.audit(model, x, y).findings if one.code == "FL103"}


def test_what_is_multiplied_by_nothing_but_zeros_names_what_made_them() -> None:
    found = causes(biased("relu", -100.0))
    assert "given nothing but zeros by relu in layer 'hidden' (in layer 'head')" in found["head/kernel"]


def test_what_cancels_over_the_samples_alone_trains() -> None:
    model = model_of()
    x, y = np.stack([X[0], -X[0]]), np.stack([Y[0], -Y[0]])
    answer = fl.audit(model, x, y)
    assert (answer.ok, answer.statuses["head/bias"], answer.findings) == (True, "trains", ())
    assert "its gradient cancels over the samples of this batch" in fl.why(model, "head/bias", x, y).note


def test_what_cancels_within_each_sample_is_zero() -> None:
    class Apart(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, shape: Any) -> None:
            self.shift = self.add_weight(shape=(), initializer="ones", name="shift")

        def call(self, x: Any) -> Any:
            both = x + self.shift
            return both[:, :2] - both[:, 2:]

    model = keras.Sequential([keras.Input((4,)), Apart(name="apart")])
    model.compile("sgd", "mse")
    whole = np.float32([[1, 2, 3, 4], [2, 3, 4, 5]])
    facts = causes(model, whole, np.float32([[1, 1], [1, 1]]))
    assert "adds up to zero over the samples" in facts["apart/shift"]


def test_zeros_beside_which_a_gradient_goes_on_are_not_the_cause() -> None:
    class Softmax(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        """By hand: nothing comes back over the maximum, which is taken off, and all over what is left."""

        def call(self, x: Any) -> Any:
            e = ops.exp(x - ops.max(x, axis=-1, keepdims=True))
            return e / ops.sum(e, axis=-1, keepdims=True)

    keras.utils.set_random_seed(2)
    dead = layers.Dense(3, "relu", bias_initializer=keras.initializers.Constant(-100), name="dead")
    model = keras.Sequential([keras.Input((4,)), dead, Softmax(name="soft")])
    model.compile("sgd", "mse")
    assert (
        "relu hands back zeros"
        in causes(model, X, np.eye(3, dtype="float32")[np.arange(16) % 3])["dead/kernel"]
    )


@pytest.mark.parametrize(
    ("dtype", "scales", "least"),
    [("float16", (1e-2, 1e-3), "6e-08"), ("float32", (1e-8, 1e-36), "1e-45")],
    ids=["float16", "float32"],
)
def test_a_gradient_that_is_smaller_than_its_dtype(
    dtype: str, scales: tuple[float, float], least: str
) -> None:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(64, use_bias=False, dtype=dtype, name="low")])
    model.compile("sgd", lambda y, p: ops.mean(ops.square(p)) * scales[0] * scales[1])
    fact = causes(model, X, np.zeros((16, 64), "float32"))["low/kernel"]
    assert f"it vanishes: {dtype} ends at {least}" in fact
