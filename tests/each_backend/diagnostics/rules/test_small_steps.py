"""A step that hardly moves a kernel: whether the gradient, the rate, the clip or the plan is to blame."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import frostline as fl

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")


def model_of(optimizer: Any, *, initializer: Any = "glorot_uniform", depth: int = 1) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(8, "tanh", kernel_initializer=initializer, name=f"h{n}") for n in range(depth)]
    model = keras.Sequential([keras.Input((4,)), *hidden, layers.Dense(2, name="head")])
    model.compile(optimizer, "mse")
    return model


def found(optimizer: Any, plan: Any = None, **settings: Any) -> list[Any]:
    audit = fl.audit(model_of(optimizer, **settings), X, Y, plan=plan)
    return [one for one in audit.findings if one.code == "FL106"]


@pytest.mark.parametrize(
    ("kind", "rate"), [(optimizers.SGD, 1e-12), (optimizers.Adam, 1e-7), (optimizers.RMSprop, 1e-8)]
)
def test_a_rate_that_is_too_small(kind: Any, rate: float) -> None:
    (one,) = found(kind(rate))
    assert one.severity == "warning"
    assert f"the learning rate of {kind.__name__}, {rate:.1g}, is too small" in one.fact
    assert "vanish" not in one.fact
    assert one.remedy.startswith("set the learning rate to about ")
    advised = float(one.remedy.removeprefix("set the learning rate to about ").split(",")[0])
    assert found(kind(advised)) == []


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_a_clip_that_leaves_nothing(clip: str) -> None:
    (one,) = found(optimizers.SGD(0.01, **{clip: 1e-9}))
    assert f"{clip}=1e-09 leaves next to nothing of the gradients" in one.fact
    assert "vanish" not in one.fact
    assert "learning rate" not in one.fact
    advised = float(one.remedy.split("here about ")[1].split(",")[0])
    assert found(optimizers.SGD(0.01, **{clip: advised})) == []


def test_rate_and_clip_together() -> None:
    (one,) = found(optimizers.SGD(1e-12, clipnorm=1e-9))
    assert "the learning rate of SGD, 1e-12, is too small, and clipnorm=1e-09 leaves" in one.fact
    (one,) = found(optimizers.SGD(1e-5, clipnorm=1e-3))  # either alone would do
    assert "the learning rate of SGD, 1e-05, is too small, and clipnorm=0.001 leaves" in one.fact


def test_multipliers_of_a_plan() -> None:
    (one,) = found("sgd", fl.Plan().train("*/*", lr=1e-9))
    assert "the plan multiplies the learning rate by 1e-09 at most" in one.fact
    assert "lr=" in one.remedy
    assert found("sgd", fl.Plan().train("*/*", lr=1e-9).train("head/*", lr=1.0)) == []


@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam, optimizers.Nadam])
def test_a_rate_of_zero_may_be_raised_by_a_callback(kind: Any) -> None:
    audit = fl.audit(model_of(kind(0.0)), X, Y)
    (one,) = audit.findings
    assert (one.code, one.severity, audit.ok) == ("FL106", "note", True)
    assert one.fact == "the learning rate is 0: if nothing raises it in training, no step moves a weight"
    advised = float(one.remedy.removeprefix("set it to about ").split(",")[0])
    assert found(kind(advised)) == []


def test_a_schedule_counts_with_what_it_rises_to() -> None:
    assert (
        found(optimizers.SGD(optimizers.schedules.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=5)))
        == []
    )


def test_loss_scaling_changes_nothing() -> None:
    assert found(optimizers.LossScaleOptimizer(optimizers.SGD(0.01))) == []
    (one,) = found(optimizers.LossScaleOptimizer(optimizers.SGD(1e-12)))
    assert "the learning rate of SGD, 1e-12, is too small" in one.fact


@pytest.mark.parametrize("optimizer", ["sgd", "adam", optimizers.SGD(1e-12), optimizers.SGD(0.0)], ids=str)
def test_gradients_that_vanish_are_called_that(optimizer: Any) -> None:
    kind = optimizer if isinstance(optimizer, str) else optimizer.from_config(optimizer.get_config())
    one = found(kind, initializer=keras.initializers.RandomUniform(-0.03, 0.03, seed=1), depth=9)[0]
    assert "the gradients of all " in one.fact
    assert one.fact.endswith(" vanish")
    assert one.remedy.startswith("use an initializer that suits the activation")
