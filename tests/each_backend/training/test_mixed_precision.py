"""Plans under mixed precision: what is frozen keeps every bit, what trains gets what Keras alone gives.

Kernels and slots are float32 there; the forward pass, and with it the gradients, is in half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline import Phase, Plan, Schedule
from frostline._keras.optimizers import optimizer_targets
from helpers.checks import (
    all_weights,
    changed,
    frostline_fit,
    same_arrays,
    slots_by_address,
    values,
    weights_in,
)
from helpers.small_models import compiled, data_for, square_layers

EAGER = keras.backend.backend() == "tensorflow"
"""There a few eager steps take less time than tracing one does."""
POLICIES = ("mixed_float16", "mixed_bfloat16")
each_policy = pytest.mark.parametrize("policy", POLICIES)

INNER: dict[str, Callable[[], Any]] = {
    "accumulation": lambda: keras.optimizers.AdamW(0.02, weight_decay=0.1, gradient_accumulation_steps=2),
    "ema": lambda: keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.RMSprop(0.01, clipvalue=0.01),
    "clipnorm": lambda: keras.optimizers.Lion(0.01, weight_decay=0.1, clipnorm=0.1),
}
SCHEDULE = Schedule(
    Plan().train("c/**"),
    (
        Phase("c", epochs=2),
        Phase("b joins", steps=5, lr=0.5).train("b/**", lr=0.3, decay=2.0),
        Phase("c leaves", epochs=2).train("{a,b}/kernel").freeze("c/**"),
        Phase("all", epochs=1).train("**"),
    ),
)


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers made inside have this policy."""
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def network(policy: str) -> keras.Model:
    """`square_layers` under a policy, with the values that it has under float32."""
    with dtype_policy(policy):
        model = square_layers()
    for weight, other in zip(model.weights, square_layers().weights, strict=True):
        weight.assign(other)
    return model


@pytest.mark.parametrize(
    ("policy", "name"), [*(("mixed_float16", name) for name in INNER), ("mixed_bfloat16", "ema")]
)
def test_a_schedule_is_obeyed(policy: str, name: str) -> None:
    """Values stay float32 and finite, frozen bits stay, slots are of trained weights, leavers stop dead."""
    model = network(policy)
    scaled = keras.optimizers.LossScaleOptimizer(INNER[name](), initial_scale=64.0, dynamic_growth_steps=4)
    model.compile(scaled, "mse", run_eagerly=EAGER and name != "ema")
    run = frostline_fit(model, SCHEDULE)
    picked = [
        weights_in(model, "c"),
        weights_in(model, "b", "c"),
        {"a/kernel", "b/kernel"},
        all_weights(model),
    ]
    assert [set(p.verification.of("trained")) for p in run.phases] == picked
    assert run.verification.ok
    assert all(np.isfinite(value).all() for value in values(model).values())
    assert {v.dtype for v in model.weights} == {"float32"}
    assert {str(slot.dtype) for held in slots_by_address(model).values() for slot in held.values()} == {
        "float32"
    }
    fl.apply(model, SCHEDULE.plan_of(SCHEDULE.phases[2]))
    require_slots_of_inner(model, picked[2])


def require_slots_of_inner(model: keras.Model, trained: set[str]) -> None:
    """As `require_slots`, for an optimizer inside a LossScaleOptimizer."""
    outer = model.optimizer
    assert set(slots_by_address(model)) == trained
    fresh = type(outer).from_config(outer.get_config())
    fresh.build(optimizer_targets(outer.inner_optimizer))
    assert [tuple(v.shape) for v in outer.variables] == [tuple(v.shape) for v in fresh.variables]


@pytest.mark.parametrize("name", ["accumulation", "global_clipnorm"])
def test_the_numbers_are_those_of_float32_but_for_rounding(name: str) -> None:
    """With the loss scaled and without."""
    models = [network("mixed_float16"), network("mixed_bfloat16"), square_layers()]
    for model in models:
        optimizer = INNER[name]()
        if model is models[0]:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
        model.compile(optimizer, "mse", run_eagerly=EAGER)
        frostline_fit(model, SCHEDULE)
    for model, epsilon in zip(models, (2.0**-11, 2.0**-8), strict=False):
        for address, value in values(models[2]).items():
            np.testing.assert_allclose(values(model)[address], value, atol=20 * epsilon, err_msg=address)


def test_the_loss_scaling_that_keras_adds_is_brought_under_the_plan() -> None:
    """And what it wraps is brought under the plan."""
    model = network("mixed_float16")
    model.compile("adam", "mse", run_eagerly=EAGER)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    # Its scale of 2 ** 15 overflows for a step or two.
    run = frostline_fit(model, Plan().train("b/**"), epochs=3)
    assert set(run.verification.of("trained")) == weights_in(model, "b")
    require_slots_of_inner(model, weights_in(model, "b"))


@each_policy
def test_trained_weights_equal_a_model_frozen_by_hand(policy: str) -> None:
    """Bit for bit, what Keras gives where `a` was frozen before compile."""
    model, by_hand = network(policy), network(policy)
    by_hand.get_layer("a").trainable = False
    for one in (model, by_hand):
        scaled = keras.optimizers.LossScaleOptimizer(INNER["ema"](), initial_scale=64.0)
        one.compile(scaled, "mse", run_eagerly=EAGER)
    frostline_fit(model, Plan(default="train").freeze("a/**"), epochs=3)
    x, y = data_for(by_hand)
    by_hand.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    assert same_arrays(values(model).values(), values(by_hand).values())


def test_a_step_that_overflows_is_left_out() -> None:
    """It moves nothing, counts for nobody, and halves the scale; the late joiner's first step is the next."""
    model = network("mixed_float16")
    inner = keras.optimizers.Adam(0.02)
    scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    compiled(model, optimizer=scaled)
    frostline_fit(model, Plan().train("c/**"), epochs=2)
    assert int(inner.iterations) == 4

    scaled.dynamic_scale.assign(2.0**30)
    x, y = data_for(model)
    before = values(model)
    fl.apply(model, Plan().train("{b,c}/**"))
    model.train_on_batch(x, y)
    assert changed(model, before) == set()
    assert int(inner.iterations) == 4
    assert float(keras.ops.convert_to_numpy(scaled.dynamic_scale)) == 2.0**29

    scaled.dynamic_scale.assign(8.0)
    model.train_on_batch(x, y)
    moved = np.abs(values(model)["b/kernel"] - before["b/kernel"])
    # Adam's first step is as long as its rate, whatever the gradient; the fifth would be longer.
    np.testing.assert_allclose(moved, 0.02, rtol=0.05)
