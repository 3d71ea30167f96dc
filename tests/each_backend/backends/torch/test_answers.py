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
