"""What only PyTorch does: it obeys flags at once, and hands its values to NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl

if keras.backend.backend() != "torch":
    pytest.skip("of PyTorch", allow_module_level=True)

rng = np.random.default_rng(0)
X, Y = rng.random((8, 5)).astype("float32"), rng.random((8, 4)).astype("float32")

WITH_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "minus": lambda out: out - Y,
    "times": lambda out: out * Y,
    "divided": lambda out: out / (Y + 1),
    "product": lambda out: out @ Y.T,
    "function": lambda out: np.square(out),
}


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("name", WITH_ARRAYS)
def test_a_tensor_that_meets_an_array_leaves_the_framework(name: str) -> None:
    top = layers.Dense(4, name="top")
    top.build((None, 5))
    said = fl.explain(lambda: ops.mean(WITH_ARRAYS[name](top(X))), {"kernel": top.kernel})["kernel"]
    assert [(cut.reason, cut.operation) for cut in said.cuts] == [("left_framework", "numpy")]


def put_off() -> keras.Model:
    keras.utils.set_random_seed(0)
    low, head = layers.Dense(4, "tanh", name="low"), layers.Dense(4, name="head")
    model = keras.Sequential([keras.Input((5,)), low, head])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    for parameter in low.parameters():
        parameter.requires_grad_(False)
    return model


def flags(model: keras.Model) -> list[tuple[bool, bool]]:
    return [(v.trainable, v.value.requires_grad) for v in model.weights]


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_what_is_frozen_by_pytorchs_own_flag_is_frozen() -> None:
    model = put_off()
    before, values = flags(model), [v.numpy() for v in model.weights]
    assert fl.audit(model, X, Y).of("frozen") == ("low/kernel", "low/bias")
    assert fl.why(model, "low/kernel", X, Y).note.startswith("PyTorch's requires_grad is off on it")
    fl.audit(model, X, Y, plan=fl.Plan(default="train"))
    assert flags(model) == before
    model.fit(X, Y, verbose=0)  # it is as the answer says
    moved = [not np.array_equal(v.numpy(), then) for v, then in zip(model.weights, values, strict=True)]
    assert moved == [False, False, True, True]


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_is_advised_of_it_lets_it_train(by_hand: bool) -> None:
    model = put_off()
    if by_hand:
        model.get_layer("low").kernel.trainable = True
        assert fl.why(model, "low/kernel", X, Y).status == "trains"
    run = fl.fit(model, fl.Plan().train("low/kernel"), X, Y, verbose=0)
    assert run.verification.of("trained") == ("low/kernel",)


def test_a_plan_that_is_taken_off_leaves_pytorchs_flags_as_they_were() -> None:
    model = put_off()
    before = flags(model)
    with fl.applied(model, fl.Plan(default="train")):
        assert flags(model) == [(True, True)] * 4
    assert flags(model) == before


def test_the_remedy_mends_it() -> None:
    top = layers.Dense(4, name="top")
    top.build((None, 5))
    said = fl.explain(lambda: ops.mean(ops.subtract(top(X), Y)), {"kernel": top.kernel})
    assert said["kernel"].status == "trains"


def trained(*, low: bool) -> keras.Model:
    """A model whose lower layer changes its flag after a first fit."""
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="low"), layers.Dense(4, name="top")])
    model.get_layer("low").trainable = low
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.get_layer("low").trainable = not low
    return model


def test_what_was_frozen_since_is_frozen_and_does_not_move() -> None:
    model = trained(low=True)
    before = ops.convert_to_numpy(model.get_layer("low").kernel)
    said = fl.audit(model, X, Y)
    assert said.statuses["low/kernel"] == "frozen"
    assert "FL301" not in {one.code for one in said.findings}
    model.fit(X, Y, verbose=0)
    assert np.array_equal(before, ops.convert_to_numpy(model.get_layer("low").kernel))


def test_what_was_unfrozen_since_is_stale_and_cannot_be_trained() -> None:
    model = trained(low=False)
    said = fl.audit(model, X, Y)
    assert said.statuses["low/kernel"] == "stale"
    assert "FL301" in {one.code for one in said.findings}
    with pytest.raises(ValueError, match="Unknown variable"):
        model.fit(X, Y, verbose=0)
