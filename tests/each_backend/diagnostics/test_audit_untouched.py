"""`fl.audit` and `fl.why`: what they leave as it was, also when something fails."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from helpers import checks
from helpers.audit_checks import asked, audited, built
from helpers.custom_step import Adversaries, Fails, custom_step
from helpers.small_models import INPUTS, OUTPUTS, SEED, compiled, data_for, value_of

BACKEND = keras.backend.backend()


def everything(model: keras.Model) -> dict[str, Any]:
    """All that an audit could change: bits, flags, random states, compiled functions, attributes."""
    state: dict[str, Any] = {
        "variables": [value_of(v).tobytes() for v in _variables(model)],
        "identities": [id(v) for v in _variables(model)],
        "flags": checks.every_flag(model),
        "calls": checks.every_call(model),
        "functions": [id(getattr(model, f"{n}_function", None)) for n in ("train", "test", "predict")],
        "optimizer": id(model.optimizer),
        "losses": len(model.losses),
        "attributes": {k: id(v) for k, v in vars(model).items() if k != "_called"},
        "layers": [sorted(vars(node.layer)) for node in fl.inventory(model).layers],
        "random": (random.getstate(), str(np.random.get_state())),
        "keras": (keras.Layer.__call__, keras.Variable.assign, keras.optimizers.Optimizer.apply),
        "pending": keras.backend.get_global_seed() if hasattr(keras.backend, "get_global_seed") else None,
    }
    if BACKEND == "torch":
        import torch

        state["torch"] = torch.get_rng_state().numpy().tobytes()
        state["grads"] = [v.value.grad is None for v in model.trainable_variables]
        state["enabled"] = (torch.is_grad_enabled(), torch.Tensor.backward, torch.autograd.grad)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        state["tensorflow"] = (tf.GradientTape.gradient, tf.config.functions_run_eagerly())
    return state


def _variables(model: keras.Model) -> list[Any]:
    seeds = [w.variable for w in fl.inventory(model).of_role("seed")]
    return [*model.variables, *seeds, *model.optimizer.variables, *model.metrics_variables]


def restless() -> keras.Model:
    """Statistics, seeds, momentum and metrics: all that moves in a step; trained for a while."""
    keras.utils.set_random_seed(SEED)
    stack = [
        keras.Input((INPUTS,)),
        layers.Dense(3, kernel_regularizer="l2", name="a"),
        layers.BatchNormalization(name="bn"),
        layers.Dropout(0.5, name="drop"),
        layers.GaussianNoise(0.1, name="noise"),
        layers.Dense(OUTPUTS, name="b"),
    ]
    model = keras.Sequential(stack, name="restless")
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    x, y = data_for(model)
    model.fit(x, y, batch_size=4, verbose=0)
    model.predict(x, verbose=0)
    return model


@pytest.mark.parametrize("plan", [None, fl.Plan().train("b/**"), fl.Plan(default="train").freeze("bn/**")])
@pytest.mark.every_backend
def test_an_audit_leaves_everything_as_it_was(plan: fl.Plan | None) -> None:
    model = restless()
    before = everything(model)
    audited(model, plan=plan)
    asked(model, "b/kernel", plan=plan)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()


def test_training_goes_on_as_if_nobody_had_looked() -> None:
    looked_at, left_alone = restless(), restless()
    keras.utils.set_random_seed(3)
    before = random.getstate()
    audited(looked_at)
    assert random.getstate() == before
    for model in (looked_at, left_alone):
        keras.utils.set_random_seed(4)
        model.fit(*data_for(model), batch_size=4, verbose=0)
    one, other = checks.values(looked_at), checks.values(left_alone)
    assert {a for a in one if one[a].tobytes() != other[a].tobytes()} == set()


@pytest.mark.parametrize("build", [custom_step, lambda: Adversaries()], ids=["custom_step", "adversaries"])
@pytest.mark.every_backend
def test_a_step_of_ones_own_changes_nothing(build: Any) -> None:
    model = compiled(build())
    if not model.built:
        model.build((None, INPUTS))
    model.optimizer.build(model.trainable_variables)
    x, y = data_for(model)
    before = everything(model)
    fl.audit(model, x, y if build is custom_step else x)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()


@pytest.mark.parametrize("plan", [None, fl.Plan().train("b/**")])
def test_everything_is_as_before_after_an_error(plan: fl.Plan | None) -> None:
    def failing(y: Any, predicted: Any) -> Any:
        raise ArithmeticError("of the user's own")

    model = restless()
    before = everything(model)
    with pytest.raises(ArithmeticError, match="of the user's own"):
        audited(model, plan=plan, loss=failing)
    with pytest.raises(ArithmeticError, match="of the user's own"):
        asked(model, "b/kernel", plan=plan, loss=failing)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()
    audited(model)


@pytest.mark.every_backend
def test_a_step_that_fails_changes_nothing() -> None:
    model = built(Fails(name="model"))
    before = everything(model)
    with pytest.raises(ArithmeticError):
        audited(model)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()
