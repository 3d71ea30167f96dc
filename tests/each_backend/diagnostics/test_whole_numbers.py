"""Weights of integers and unused outputs: reasons and remedies that fit them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import NoGradientError

pytestmark = pytest.mark.every_backend

X, Y = np.random.default_rng(0).random((8, 5)).astype("float32"), np.zeros((8, 4), "float32")


class Counted(layers.Layer):
    """Multiplies by whole numbers."""

    def __init__(self, trainable_numbers: bool, dtype: str) -> None:
        super().__init__(name="counted")
        self.of, self.kind = trainable_numbers, dtype

    def build(self, shape: Any) -> None:
        self.numbers = self.add_weight(
            shape=(5,), dtype=self.kind, initializer="ones", trainable=self.of, name="numbers"
        )

    def call(self, x: Any) -> Any:
        return x * ops.cast(self.numbers, "float32")


def model(*, trainable: bool, dtype: str = "int32") -> keras.Model:
    made = keras.Sequential([keras.Input((5,)), Counted(trainable, dtype), layers.Dense(4, name="top")])
    made.compile("sgd", "mse")
    return made


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_whole_numbers_are_the_reason_and_the_remedy_mends_it(dtype: str) -> None:
    if keras.backend.backend() != "torch":  # PyTorch makes no such weight
        said = fl.audit(model(trainable=True, dtype=dtype), X, Y)
        one = said.explanations["counted/numbers"]
        assert (one.status, one.cuts) == ("cut", ())
        assert one.note == "it holds integers or booleans, which no gradient reaches"
        assert one.remedy.startswith("make it with trainable=False")
        assert said.statuses["top/kernel"] == "trains"
        assert said.gradient_norms["top/kernel"] > 0
    assert fl.audit(model(trainable=False, dtype=dtype), X, Y).ok


def test_the_same_without_a_model() -> None:
    numbers = keras.Variable(np.ones(3, "int32"), dtype="int32", trainable=False, name="numbers")
    scale = keras.Variable(np.ones(3, "float32"), name="scale")
    said = fl.explain(lambda: ops.sum(scale * ops.cast(numbers, "float32")), [numbers, scale])
    assert said["scale"].status == "trains"
    assert not said["numbers"].cuts


@pytest.mark.parametrize("plan", [fl.Plan(default="train"), fl.Plan().train("b/**")])
def test_an_unused_output_is_answered_as_one(plan: fl.Plan) -> None:
    x = keras.Input((5,))
    two = keras.Model(x, [layers.Dense(4, name="a")(x), layers.Dense(4, name="b")(x)])
    two.compile("sgd", ["mse", None])
    with pytest.raises(NoGradientError) as caught:
        fl.fit(two, plan, X, [Y, Y], verbose=0)
    assert "tape" not in str(caught.value)
    assert "add that output to the loss" in str(caught.value)
    two.compile("sgd", ["mse", "mse"])
    assert fl.why(two, "b/kernel", X, [Y, Y + 1]).status == "trains"
