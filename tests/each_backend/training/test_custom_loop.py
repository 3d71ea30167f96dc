"""`fl.optimizer_for`: plans in loops that users write, with each backend's own means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline._keras.optimizers import optimizer_chain
from frostline.errors import OptimizerError
from frostline.optimizers.slots import slots_of
from helpers.checks import (
    changed,
    frostline_fit,
    quick_first,
    same_arrays,
    values,
    weights_in,
)
from helpers.custom_loops import ONLY_B, batches
from helpers.loops import jax_state, jax_step, run_loop, tensorflow_step, write_back
from helpers.small_models import (
    batch_norm,
    compiled,
    data_for,
    nested_dropout,
    square_layers,
    two_dense,
)

BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="stateless_apply is JAX's")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.function is TensorFlow's")


PLANS = (
    fl.Plan().train("c/**"),
    fl.Plan().train("c/**", lr=0.1).train("b/**", decay=3.0),
    fl.Plan().train("{a,b}/kernel", lr=0.5),
    fl.Plan(default="train"),
)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=0.5),
    "adam": lambda: keras.optimizers.Adam(0.05, global_clipnorm=0.5),
    "adamw_ema": lambda: keras.optimizers.AdamW(
        0.05, weight_decay=0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
    ),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, gradient_accumulation_steps=2),
    "nadam_schedule": lambda: keras.optimizers.Nadam(
        keras.optimizers.schedules.ExponentialDecay(0.05, 2, 0.5), clipvalue=0.1
    ),
    "muon": lambda: keras.optimizers.Muon(0.02),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.05), dynamic_growth_steps=2
    ),
}


# --- a loop does what fit does ----------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", quick_first(OPTIMIZERS, ["sgd", "adamw_ema", "scaled"]))
def test_a_loop_equals_fit_through_plans(name: str, jit: bool) -> None:
    """Values and slots are those of `fl.fit`; what each plan moved is proved."""
    if (jit and BACKEND == "torch") or (not jit and BACKEND != "torch" and name != "sgd"):
        pytest.skip("eager on PyTorch, compiled on the others, both for one optimizer")
    model, reference = square_layers(), compiled(square_layers(), optimizer=OPTIMIZERS[name]())
    mine = OPTIMIZERS[name]()
    for plan in PLANS:
        before = fl.fingerprint(model)
        assert fl.optimizer_for(model, plan, mine) is mine
        run_loop(model, mine, batches(model, 2), jit=jit)
        mine.finalize_variable_values(model.trainable_variables)
        verification = fl.verify(model, before, plan)
        assert verification.ok
        frostline_fit(reference, plan, epochs=2)
        trained = {d.weight.address for d in plan.resolve(model).trained}
        assert set(verification.of("trained")) == trained
        assert not verification.of("unmoved")
    for address, value in values(reference).items():
        np.testing.assert_allclose(values(model)[address], value, rtol=1e-5, atol=1e-6, err_msg=address)
    held = [keras.ops.convert_to_numpy(v) for v in mine.variables]
    for found, expected in zip(held, reference.optimizer.variables, strict=True):
        np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-6)


def test_slots_are_of_trained_weights_only() -> None:
    model, mine = square_layers(), keras.optimizers.Adam(0.05)
    for plan in PLANS:
        fl.optimizer_for(model, plan, mine)
        shapes = [d.weight.shape for d in plan.resolve(model).trained]
        assert sorted(tuple(v.shape) for v in mine.variables if tuple(v.shape)) == sorted(shapes * 2)


def test_slots_come_back_unless_they_are_not_kept() -> None:
    for keep in (True, False):
        model, mine = two_dense(), keras.optimizers.Adam(0.05)
        fl.optimizer_for(model, fl.Plan(default="train"), mine)
        run_loop(model, mine, batches(model))
        held = [s["_momentums"].numpy() for s in slots_of(mine)]
        fl.optimizer_for(model, ONLY_B, mine, keep_state=keep)
        fl.optimizer_for(model, fl.Plan(default="train"), mine)
        back = [s["_momentums"].numpy() for s in slots_of(mine)]
        assert same_arrays(back, held) == keep


def test_a_late_joiner_equals_an_optimizer_of_its_own() -> None:
    """Adam on a loss that is linear in each head: who joins late gets what a new optimizer would give."""
    gradient = keras.ops.convert_to_tensor(np.linspace(0.1, 1, 12, dtype="float32").reshape(4, 3))
    model, other = two_dense(), two_dense()
    mine = fl.optimizer_for(model, fl.Plan().train("b/kernel"), keras.optimizers.Adam(0.05))
    for _ in range(7):
        mine.apply([keras.ops.ones((3, 2))], model.trainable_variables)
    fl.optimizer_for(model, fl.Plan().train("{a,b}/kernel"), mine)
    alone = keras.optimizers.Adam(0.05)
    alone.build([other.get_layer("a").kernel])
    for _ in range(3):
        mine.apply([gradient, keras.ops.ones((3, 2))], model.trainable_variables)
        alone.apply([gradient], [other.get_layer("a").kernel])
    np.testing.assert_allclose(values(model)["a/kernel"], values(other)["a/kernel"], rtol=1e-6, atol=1e-7)


def test_modes_and_flags_follow_the_plan() -> None:
    """Frozen statistics stay though the loop calls the model with `training=True`; dropout is silent."""
    model = batch_norm()
    mine = fl.optimizer_for(model, fl.Plan().train("b/**"), "sgd")
    before = fl.fingerprint(model)
    run_loop(model, mine, batches(model, 2))
    verification = fl.verify(model, before, fl.Plan().train("b/**"))
    assert verification.ok
    assert set(verification.of("held")) == {"bn/moving_mean", "bn/moving_variance"}

    nested = nested_dropout()
    fl.optimizer_for(nested, fl.Plan().train("head/**"), "sgd")
    x, _ = data_for(nested)
    assert same_arrays(*([keras.ops.convert_to_numpy(nested(x, training=True))] for _ in range(2)))


@pytest.mark.parametrize(
    "given", ["adam", {"class_name": "SGD", "config": {"learning_rate": 0.5}}, keras.optimizers.Lion(0.1)]
)
@pytest.mark.every_backend
def test_an_optimizer_is_found_as_compile_finds_it(given: Any) -> None:
    model = two_dense()
    before = values(model)
    mine = fl.optimizer_for(model, ONLY_B, given)
    assert type(mine) is type(keras.optimizers.get(given))
    run_loop(model, mine, batches(model)[:1])
    assert changed(model, before) == weights_in(model, "b")


def test_a_model_may_be_compiled_with_it_later() -> None:
    """The optimizer of a loop goes on in `fl.fit`, and back."""
    model, mine = square_layers(), keras.optimizers.Adam(0.05)
    fl.optimizer_for(model, PLANS[0], mine)
    run_loop(model, mine, batches(model))
    compiled(model, optimizer=mine)
    run = frostline_fit(model, PLANS[1])
    assert run.verification.ok
    assert int(mine.iterations) == 4
    before = fl.fingerprint(model)
    fl.optimizer_for(model, PLANS[2], mine)
    run_loop(model, mine, batches(model))
    assert set(fl.verify(model, before, PLANS[2]).of("trained")) == {"a/kernel", "b/kernel"}


@pytest.mark.every_backend
def test_the_optimizer_of_a_compiled_model_may_be_given() -> None:
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    mine = fl.optimizer_for(model, ONLY_B, model.optimizer)
    assert mine is model.optimizer
    before = values(model)
    run_loop(model, mine, batches(model))
    frostline_fit(model, ONLY_B)
    assert changed(model, before) == weights_in(model, "b")


# --- steps compiled under an earlier plan -----------------------------------------------------


@on_tensorflow
@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.every_backend
def test_frostline_a_stale_tf_function_moves_nothing(xla: bool) -> None:
    """One traced under an earlier plan knows the weights of that plan alone; without XLA it says so."""
    model = square_layers()
    mine = fl.optimizer_for(model, fl.Plan().train("a/**"), keras.optimizers.Adam(0.05))
    step = tensorflow_step(model, mine, jit=True, jit_compile=xla)
    before = values(model)
    step(*batches(model)[0])
    assert changed(model, before) == weights_in(model, "a")

    fl.optimizer_for(model, fl.Plan().train("b/**"), mine)
    before = values(model)
    if xla:
        step(*batches(model)[0])
    else:
        import tensorflow as tf

        with pytest.raises(tf.errors.InvalidArgumentError, match="traced under an earlier plan"):
            step(*batches(model)[0])
    assert changed(model, before) == set()

    fresh = tensorflow_step(model, mine, jit=True, jit_compile=xla)
    fresh(*batches(model)[0])
    assert changed(model, before) == weights_in(model, "b")
    # The same plan again makes nothing stale.
    fl.optimizer_for(model, fl.Plan().train("b/**"), mine)
    fresh(*batches(model)[1])


@on_jax
def test_frostline_a_jitted_step_follows_the_plan() -> None:
    """Layers of equal shapes and other rates look the same to `jax.jit`; its functions are dropped."""
    model, mine = square_layers(), keras.optimizers.SGD(0.1)
    fl.optimizer_for(model, fl.Plan().train("a/**"), mine)
    step = jax_step(model, mine, jit=True)
    moved = []
    for plan in (fl.Plan().train("b/**"), fl.Plan().train("b/**", lr=0.01), fl.Plan().train("c/**")):
        write_back(model, mine, step(jax_state(model, mine), *batches(model)[0]))
        before, start = values(model), fl.fingerprint(model)
        fl.optimizer_for(model, plan, mine)
        write_back(model, mine, step(jax_state(model, mine), *batches(model)[0]))
        assert fl.verify(model, start, plan).ok
        moved.append({a: np.abs(v - before[a]).max() for a, v in values(model).items()})
    assert [{a for a, size in one.items() if size} for one in moved] == [
        weights_in(model, name) for name in "bbc"
    ]
    assert moved[1]["b/kernel"] < 0.05 * moved[0]["b/kernel"]


@on_jax
@pytest.mark.every_backend
def test_a_state_that_was_not_written_back_is_noticed() -> None:
    model, mine = two_dense(), keras.optimizers.Adam(0.05)
    fl.optimizer_for(model, ONLY_B, mine)
    state = jax_step(model, mine, jit=True)(jax_state(model, mine), *batches(model)[0])
    with pytest.raises(OptimizerError) as caught:
        fl.optimizer_for(model, fl.Plan(default="train"), mine)
    assert str(caught.value) == (
        "the optimizer's variables still hold the values from before stateless_apply ran.\n"
        f"  received: {mine.name} at step 0, the step at which its plan began\n"
        "  expected: variables that hold the values computed by your loop\n"
        "  fix:      before the plan changes, assign them: for v, value in zip(optimizer.variables, "
        "optimizer_variables): v.assign(value); do the same for the model's variables"
    )
    write_back(model, mine, state)
    fl.optimizer_for(model, fl.Plan(default="train"), mine)


# --- mixed precision --------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_scaled_loss_in_a_loop(policy: str) -> None:
    """Steps whose gradients overflow are left out and halve the scale; the rest obeys, and stays finite."""
    keras.config.set_dtype_policy(policy)
    try:
        model = square_layers()
    finally:
        keras.config.set_dtype_policy("float32")
    inner = keras.optimizers.AdamW(0.02, weight_decay=0.1, use_ema=True, ema_momentum=0.5)
    mine = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**18, dynamic_growth_steps=50)
    for plan in PLANS:
        before = fl.fingerprint(model)
        fl.optimizer_for(model, plan, mine)
        run_loop(model, mine, batches(model, 3))
        verification = fl.verify(model, before, plan)
        assert verification.ok
        assert not verification.of("unmoved")
        assert all(np.isfinite(value).all() for value in values(model).values())
    scale = float(keras.ops.convert_to_numpy(mine.dynamic_scale))
    assert scale < 2.0**18 if policy == "mixed_float16" else scale == 2.0**18
    assert optimizer_chain(mine)[-1] is inner
