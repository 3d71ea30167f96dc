"""`why` says what holds a weight fixed, and following its remedy lets it train."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from helpers.checks import names

X, Y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")


def nested() -> keras.Model:
    low, top = layers.Dense(4, name="low"), layers.Dense(3, name="top")
    inner = keras.Sequential([keras.Input((4,)), low, top], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="head")], name="m")
    model.compile("sgd", "mse")
    return model


def asked(model: keras.Model, address: str, plan: fl.Plan | None = None) -> fl.Explanation:
    answer = fl.why(model, address, X, Y, plan=plan)
    assert answer.status == "frozen"
    return answer


@pytest.mark.parametrize("by", ["the model 'm'", "layer 'inner'", "layer 'inner/top'"])
def test_the_flag_of_a_layer_around_it(by: str) -> None:
    model = nested()
    inner = model.get_layer("inner")
    holder = {"the model 'm'": model, "layer 'inner'": inner}.get(by, inner.get_layer("top"))
    holder.trainable = False
    if holder is model:
        inner.get_layer("top").trainable = True  # which changes nothing, below a model that is off
    answer = asked(model, "inner/top/kernel")
    then = "holds all in it, whatever the flags inside say" if holder is model else "was put off with all"
    assert answer.note.startswith(f"the flag of {by} is off, and {then}")
    assert f"by hand: trainable = True on {by}" in answer.remedy
    # Followed by a plan, then by hand.
    assert answer.remedy.startswith("fl.apply(model, fl.Plan().train('inner/top/kernel'))")
    fl.apply(model, fl.Plan().train("inner/top/kernel"))
    assert names(model.trainable_variables) == ["kernel"]
    assert fl.why(model, "inner/top/kernel", X, Y).status == "trains"
    again = nested()
    again.get_layer("inner").trainable = False
    again.get_layer("inner").trainable = True
    again.get_layer("inner").get_layer("low").trainable = False
    assert fl.why(again, "inner/top/kernel", X, Y).status == "trains"


def test_its_own_flag() -> None:
    model = nested()
    model.get_layer("head").kernel.trainable = False
    answer = asked(model, "head/kernel")
    assert answer.note == "its own flag is off"
    model.get_layer("head").kernel.trainable = True
    assert fl.why(model, "head/kernel", X, Y).status == "trains"


def test_a_rule_of_a_plan_and_its_default() -> None:
    plan = fl.Plan(default="train").freeze("layer:inner")
    answer = asked(nested(), "inner/low/kernel", plan)
    assert answer.note == "rule 1 of the plan freezes it"
    assert answer.remedy == "add .train('inner/low/kernel') as the last rule of the plan, if it is to train"
    assert fl.why(nested(), "inner/low/kernel", X, Y, plan=plan.train("inner/low/kernel")).status == "trains"
    assert (
        asked(nested(), "head/bias", fl.Plan().train("head/kernel")).note == "the plan's default freezes it"
    )


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras makes no such weights there")
def test_integers() -> None:
    class Counting(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, shape: object) -> None:
            self.table = self.add_weight(shape=(3,), dtype="int32", initializer="zeros", name="table")

        def call(self, x: object) -> object:
            return x

    model = keras.Sequential([keras.Input((4,)), Counting(name="c"), layers.Dense(2, name="head")])
    model.get_layer("c").trainable = False
    model.compile("sgd", "mse")
    answer = asked(model, "c/table")
    assert answer.note == "it holds numbers of int32, which no gradient reaches"
    assert answer.remedy == ""
