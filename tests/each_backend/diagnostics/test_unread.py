"""What a loss leaves out by a slice is unused; what values of the data choose is zero on these data alone."""

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


def two_heads(loss: Any, **settings: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    trunk = layers.Dense(6, "tanh", name="trunk")(x)
    outputs = [layers.Dense(2, name="main")(trunk), layers.Dense(2, name="side", **settings)(trunk)]
    model = keras.Model(x, layers.Concatenate(name="both")(outputs), name="net")
    model.compile("sgd", loss)
    return model


def first_half(y: Any, both: Any) -> Any:
    return ops.mean(ops.square(y - both[:, :2]))


def split(y: Any, both: Any) -> Any:
    return ops.mean(ops.square(y - ops.split(both, 2, axis=-1)[0]))


@pytest.mark.parametrize("loss", [first_half, split])
def test_an_output_that_a_slice_leaves_out_is_unused(loss: Any) -> None:
    model = two_heads(loss, kernel_regularizer=keras.regularizers.L2(0.01))
    before = values(model)
    answer = fl.audit(model, X, Y)
    assert set(answer.of("unused")) == {"side/kernel", "side/bias"}
    (found,) = [one for one in answer.findings if one.code == "FL102"]
    assert found.fact == "the loss does not depend on side/kernel, side/bias"
    assert "whatever numbers it holds, the loss stays the same" in fl.why(model, "side/kernel", X, Y).note
    assert "only its penalty moves it" in answer.explanations["side/kernel"].note
    assert all(map(np.array_equal, before, values(model)))


@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("drop", ["slice", "split", "index"])
def test_a_slice_in_the_model_under_a_loss_of_keras_is_seen_too(loss: Any, drop: str) -> None:
    class Front(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def call(self, x: Any) -> Any:
            if drop == "index":
                return ops.reshape(x, (-1, 2, 2))[:, 0]
            return x[:, :2] if drop == "slice" else ops.split(x, 2, axis=-1)[0]

    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    both = layers.Concatenate()([layers.Dense(2, name="main")(x), layers.Dense(2, name="side")(x)])
    model = keras.Model(x, Front(name="front")(both))
    model.compile("sgd", loss)
    assert set(fl.audit(model, X, Y).of("unused")) == {"side/kernel", "side/bias"}


def test_following_the_remedy_makes_it_train() -> None:
    whole = two_heads(lambda y, both: ops.mean(ops.square(ops.concatenate([y, y], axis=-1) - both)))
    assert fl.audit(whole, X, Y).ok


def test_what_a_weight_of_zero_keeps_out_is_zero() -> None:
    model = two_heads(lambda y, both: ops.mean(ops.square(y - both[:, :2])) + 0.0 * ops.mean(both))
    assert set(fl.audit(model, X, Y).of("zero")) == {"side/kernel", "side/bias"}


def test_what_values_of_the_data_choose_is_zero() -> None:
    class Choose(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        """One expert for positive numbers, another for negative ones."""

        def call(self, x: Any, one: Any, other: Any) -> Any:
            return ops.where(ops.all(x > -100, axis=-1, keepdims=True), one, other)

    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    experts = [layers.Dense(2, name=name)(x) for name in ("one", "other")]
    model = keras.Model(x, Choose(name="choose")(x, *experts))
    model.compile("sgd", "mse")
    assert set(fl.audit(model, X, Y).of("zero")) == {"other/kernel", "other/bias"}


def test_a_mask_of_zeros_is_zero() -> None:
    model = two_heads(lambda y, both: ops.mean(ops.cast(y < -100.0, "float32") * ops.square(y - both[:, :2])))
    found = fl.audit(model, X, Y).statuses
    assert (found["main/kernel"], found["side/kernel"]) == ("zero", "unused")


def test_of_a_function_too() -> None:
    used, unused = (keras.Variable(np.ones(3, "float32"), name=name) for name in ("used", "unused"))
    both = fl.explain(lambda: ops.sum(ops.concatenate([used, unused])[:3]), [used, unused])
    assert [one.status for one in both.values()] == ["trains", "unused"]


class Strict(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Refuses numbers that are not finite, as a decomposition does."""

    def call(self, x: Any) -> Any:
        values = ops.convert_to_numpy(ops.stop_gradient(x)) if keras.backend.backend() == "torch" else None
        if values is not None and not np.isfinite(values).all():
            raise ValueError("not finite")
        return ops.concatenate([x[:, :2], 0.0 * x[:, 2:]], axis=-1)


def test_a_model_that_refuses_such_numbers_reads_them() -> None:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="low"), Strict(name="strict")])
    model.compile("sgd", lambda y, p: 0.0 * ops.mean(p) + ops.mean(ops.square(y)))
    assert set(fl.audit(model, X, Y).of("zero")) == {"low/kernel", "low/bias"}


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a number of the data leaves only PyTorch so")
def test_what_a_loss_slices_by_a_number_of_the_targets_is_zero() -> None:
    model = two_heads(lambda y, both: ops.mean(ops.square(both[:, : int(ops.max(y))])))
    assert set(fl.audit(model, X, np.full((16, 4), 2.0, "float32")).of("zero")) == {
        "side/kernel",
        "side/bias",
    }
    assert fl.audit(model, X, np.full((16, 4), 4.0, "float32")).ok


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a number of the data leaves only PyTorch so")
def test_what_python_slices_by_a_number_of_the_data_is_zero() -> None:
    class Lengths(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def call(self, x: Any, both: Any) -> Any:
            return both[:, : int(ops.max(x)) // 100 + 2]

    keras.utils.set_random_seed(2)
    x = keras.Input((4,))
    heads = [layers.Dense(2, name=name)(x) for name in ("main", "side")]

    class Model(keras.Model):  # type: ignore[misc]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__()
            self.heads = keras.Model(x, layers.Concatenate()(heads))
            self.lengths = Lengths(name="lengths")

        def call(self, x: Any) -> Any:
            return self.lengths(x, self.heads(x))

    model = Model()
    model(X)
    model.compile("sgd", "mse")
    answer = fl.audit(model, X, Y)
    assert {one for a, one in answer.statuses.items() if "side" in a} == {"zero"}
