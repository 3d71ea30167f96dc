"""Loops of one's own: gradients, lists and optimizers that are refused."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import frostline as fl
from frostline.errors import OptimizerError, PlanError, UnbuiltModelError
from helpers.checks import (
    all_weights,
    changed,
    values,
    weights_in,
)
from helpers.custom_loops import ONLY_B, batches
from helpers.loops import jax_state, run_loop
from helpers.small_models import (
    Subclassed,
    compiled,
    square_layers,
    two_dense,
)

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="stateless_apply is JAX's")


# --- what users give --------------------------------------------------------------------------


def ones(variables: Any) -> list[Any]:
    """A gradient of ones for each variable."""
    return [keras.ops.ones(v.shape) for v in variables]


def test_gradients_of_frozen_weights_are_refused() -> None:
    model = two_dense()
    mine = fl.optimizer_for(model, ONLY_B, "adam")
    before = values(model)
    with pytest.raises(OptimizerError) as caught:
        mine.apply(ones(model.weights), model.weights)
    assert str(caught.value) == (
        "the optimizer was given gradients of weights that its plan for the model 'two_dense' freezes.\n"
        "  received: a/kernel, a/bias\n"
        "  expected: only b/kernel, b/bias\n"
        "  fix:      give optimizer.apply(grads, model.trainable_variables), read again after every change "
        "of the plan; to train others, call optimizer_for again"
    )
    with pytest.raises(OptimizerError, match="a/kernel, a/bias"):
        mine.apply_gradients(zip(ones(model.weights), model.weights, strict=True))
    assert changed(model, before) == set()


def test_frozen_weights_without_a_gradient_are_let_pass() -> None:
    """As a tape or `loss.backward()` leaves them."""
    model = two_dense()
    mine = fl.optimizer_for(model, ONLY_B, "adam")
    before = values(model)
    grads = [keras.ops.ones(v.shape) if v.trainable else None for v in model.weights]
    mine.apply(grads, model.weights)
    assert changed(model, before) == weights_in(model, "b")
    with pytest.raises(OptimizerError, match="gradients of weights that its plan"):
        mine.apply([None, None], model.get_layer("a").weights)


def test_a_trained_weight_without_a_gradient() -> None:
    """Keras's own warning, and its error where there is none at all."""
    model = two_dense()
    mine = fl.optimizer_for(model, ONLY_B, keras.optimizers.Adam(0.05))
    before = values(model)
    kernel, bias = model.trainable_variables
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        mine.apply([None, keras.ops.ones(bias.shape)], [kernel, bias])
    assert changed(model, before) == {"b/bias"}
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        mine.apply([None, None], [kernel, bias])


def test_variables_of_another_model_are_refused() -> None:
    model, other = two_dense(), square_layers()
    mine = fl.optimizer_for(model, ONLY_B, "adam")
    with pytest.raises(OptimizerError, match="that is not a weight of the model 'two_dense'") as caught:
        mine.apply(ones(other.weights), other.weights)
    assert "kernel" in caught.value.received
    with pytest.raises(OptimizerError, match="was built for weights that this model does not have") as caught:
        fl.optimizer_for(other, ONLY_B, mine)
    assert caught.value.remedy == "give this model a new optimizer, such as keras.optimizers.Adam(0.001)"
    fl.optimizer_for(other, ONLY_B, keras.optimizers.Adam(0.001))
    other = square_layers()
    with pytest.raises(OptimizerError, match="was built for weights that this model does not have"):
        fl.optimizer_for(other, ONLY_B, mine)
    assert all(v.trainable for v in other.weights), "the other model is as it was"


def test_gradients_that_do_not_fit_are_refused() -> None:
    model = two_dense()
    mine = fl.optimizer_for(model, ONLY_B, "adam")
    before = values(model)
    kernel, bias = model.trainable_variables
    with pytest.raises(OptimizerError) as caught:
        mine.apply(ones([kernel, bias])[::-1], [kernel, bias])
    assert str(caught.value) == (
        "a gradient given for b/kernel has another shape.\n"
        "  received: (2,)\n"
        "  expected: (3, 2)\n"
        "  fix:      take the gradients of model.trainable_variables, in that order"
    )
    for grads, variables in ((ones(model.weights), None), (ones([kernel]), [kernel, bias])):
        with pytest.raises(OptimizerError, match="each gradient needs its variable"):
            mine.apply(grads, variables)
    assert changed(model, before) == set()
    mine.apply(ones([kernel, bias]))
    assert changed(model, before) == weights_in(model, "b")


def test_an_optimizer_of_pytorch_is_refused() -> None:
    model = two_dense()
    given: Any = type("AdamW", (), {"__module__": "torch.optim.adamw"})()
    if BACKEND == "torch":
        import torch

        given = torch.optim.AdamW(w.value for w in model.weights)
    with pytest.raises(OptimizerError) as caught:
        fl.optimizer_for(model, ONLY_B, given)
    assert str(caught.value) == (
        "AdamW is a PyTorch optimizer, whose state and groups a plan cannot change.\n"
        "  received: an object of type torch.optim.adamw.AdamW\n"
        "  expected: a keras.optimizers.Optimizer, or its name or configuration\n"
        "  fix:      give keras.optimizers.AdamW(...), or keep yours without the plan's multipliers: after "
        "frostline.apply(model, plan) make it again from [w.value for w in model.trainable_weights]"
    )
    assert all(v.trainable for v in model.weights)


@pytest.mark.parametrize("given", [None, 3, "adamm", {"class_name": "Adamm", "config": {}}, {}])
def test_what_is_no_optimizer(given: Any) -> None:
    with pytest.raises(OptimizerError):
        fl.optimizer_for(two_dense(), ONLY_B, given)


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has it from 3.15 on")
def test_several_optimizers_in_one_are_refused() -> None:
    model = two_dense()
    several = keras.optimizers.MultiOptimizer({".*": keras.optimizers.SGD()})
    with pytest.raises(OptimizerError, match="cannot be used with a plan"):
        fl.optimizer_for(model, ONLY_B, several)
    assert all(v.trainable for v in model.weights)


def test_plans_that_cannot_be_looped() -> None:
    model = two_dense()
    schedule = fl.Schedule(ONLY_B, (fl.Phase("one", epochs=1), fl.Phase("two", epochs=1).train("**")))
    with pytest.raises(PlanError) as caught:
        fl.optimizer_for(model, schedule, "adam")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "optimizer_for takes a Plan, not a Schedule: your own loop decides where a phase ends.\n"
        "  received: a Schedule of 2 phases\n"
        "  expected: a Plan\n"
        "  fix:      call optimizer_for(model, schedule.plan_of(phase), optimizer) where each phase begins"
    )
    with pytest.raises(PlanError, match="the plan trains nothing in the model 'two_dense'"):
        fl.optimizer_for(model, fl.Plan(), "adam")
    with pytest.raises(UnbuiltModelError):
        fl.optimizer_for(Subclassed(name="unbuilt"), ONLY_B, "adam")
    assert all(v.trainable for v in model.weights)


def test_undoing_the_plan_frees_the_optimizer() -> None:
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    done = fl.apply(model, ONLY_B)
    mine = fl.optimizer_for(model, ONLY_B, model.optimizer)
    done.undo()
    mine.build(model.trainable_variables)
    before = values(model)
    run_loop(model, mine, batches(model))
    assert changed(model, before) == all_weights(model)


# --- steps compiled under an earlier plan -----------------------------------------------------


@on_jax
def test_lists_that_do_not_fit_are_refused() -> None:
    model, mine = two_dense(), keras.optimizers.Adam(0.05)
    old = jax_state(model, keras.optimizers.SGD())
    fl.optimizer_for(model, ONLY_B, mine)
    trained, _, state = jax_state(model, mine)
    with pytest.raises(OptimizerError, match="4 values for 2 trained weights"):
        mine.stateless_apply(state, ones(model.weights), old[0])
    with pytest.raises(OptimizerError, match="2 values for 6 variables"):
        mine.stateless_apply(old[2], ones(model.trainable_variables), trained)
    with pytest.raises(OptimizerError, match="4 gradients for 2 variables"):
        mine.stateless_apply(state, ones(model.weights), trained)
