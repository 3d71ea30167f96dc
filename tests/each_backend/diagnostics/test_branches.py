"""Branches that values choose: a weight in one that was not taken is no cut, and no reason not to train."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import NoGradientError

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X, Y = rng.random((8, 5)).astype("float32"), rng.random((8, 4)).astype("float32")
BOTH = np.concatenate([X, -X]), np.concatenate([Y, Y])


class Either(layers.Layer):
    """Uses one of two kernels."""

    def build(self, shape: Any) -> None:
        self.a, self.b, self.c = (self.add_weight(shape=(shape[-1], 4), name=n) for n in "abc")

    def call(self, x: Any) -> Any:
        return ops.cond(ops.mean(x) > 0, lambda: x @ self.a, lambda: x @ self.b) + x @ self.c


class Stopped(Either):
    """And stops the gradient to the third."""

    def call(self, x: Any) -> Any:
        chosen = ops.cond(ops.mean(x) > 0, lambda: x @ self.a, lambda: x @ self.b)
        return chosen + ops.stop_gradient(x @ self.c)


def model(layer: Any = Either) -> keras.Model:
    made = keras.Sequential([keras.Input((5,)), layer(name="either")])
    made.compile("sgd", "mse")
    return made


def test_a_weight_of_the_other_branch_is_zero_and_another_batch_shows_it() -> None:
    made = model()
    said = fl.why(made, "either/b", X, Y)
    assert said.status == "zero"
    assert not said.cuts
    assert said.remedy
    assert fl.why(made, "either/b", -X, Y).status == "trains"  # as the remedy says


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_fit_trains_what_values_decide() -> None:
    made = model()
    before = ops.convert_to_numpy(made.layers[0].b.value)
    fl.fit(made, fl.Plan(default="train"), *BOTH, batch_size=8, shuffle=False, verbose=0)
    assert not np.array_equal(before, ops.convert_to_numpy(made.layers[0].b.value))


def test_fit_still_refuses_a_cut_beside_it() -> None:
    with pytest.raises(NoGradientError, match="either/c"):
        fl.fit(model(Stopped), fl.Plan(default="train"), *BOTH, batch_size=8, verbose=0)


def test_explain_calls_no_branch_a_cut() -> None:
    p, b, c = (keras.Variable(np.ones(5, "float32"), name=name) for name in "pbc")
    said = fl.explain(
        lambda: ops.cond(ops.sum(p) > 0, lambda: ops.sum(b * 3.0), lambda: ops.sum(c * c)), [p, b, c]
    )
    assert said["p"].status in ("cut", "unused")  # PyTorch chooses in Python: nothing is made of it
    assert [said[name].status for name in "bc"] == ["trains", "zero"]


def test_a_switch_is_no_cut_either() -> None:
    b, c = (keras.Variable(np.ones(5, "float32"), name=name) for name in "bc")
    said = fl.explain(
        lambda: ops.switch(ops.convert_to_tensor(1), [lambda: ops.sum(b), lambda: ops.sum(c * c)]),
        [b, c],
    )
    assert [said[name].status for name in "bc"] == ["zero", "trains"]


def test_what_is_never_used_is_still_unused() -> None:
    b, c = (keras.Variable(np.ones(5, "float32"), name=name) for name in "bc")
    assert fl.explain(lambda: ops.sum(b * b), [b, c])["c"].status == "unused"
