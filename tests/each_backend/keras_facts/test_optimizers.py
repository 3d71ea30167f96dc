"""Keras's optimizers where something is frozen, and Frostline's counterpart to each trap.

`test_keras_...` states what Keras does, on each backend; `test_frostline_...` expects the same on all three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import OptimizerError, UnmatchedRuleError
from helpers.checks import changed, frostline_fit, keras_fit, moved_by, same_arrays, values, weights_in
from helpers.random_models import Optimizer
from helpers.reference_training import Reference
from helpers.small_models import compiled, data_for, two_dense, value_of

BACKEND = keras.backend.backend()
ONLY_B = fl.Plan().train("b/**")


def variable(value: Any) -> keras.Variable:
    return keras.Variable(np.asarray(value, "float32"))


def stepped(optimizer: Any, weight: keras.Variable, gradients: list[Any]) -> np.ndarray:
    """Apply gradients one after the other; the value afterwards."""
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.asarray(gradient, "float32"))], [weight])
    return value_of(weight)


# --- a gradient of zero is not frozen ---------------------------------------------------------

MOVERS: dict[str, Callable[[], Any]] = {
    "adamw": lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1),
    "sgd_decay": lambda: keras.optimizers.SGD(0.05, weight_decay=0.1),
}
MOMENTA: dict[str, Callable[[], Any]] = {
    "adam": lambda: keras.optimizers.Adam(0.05),
    "sgd_momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
}
ROWS = [[1.0, 1.0], [0.0, 0.0]]
"""A gradient of the first row alone."""


@pytest.mark.parametrize("name", MOVERS)
def test_keras_decay_moves_rows_without_gradient(name: str) -> None:
    """At once, on all three."""
    table = variable([[1.0, 2.0], [3.0, 4.0]])
    after = stepped(MOVERS[name](), table, [ROWS])
    np.testing.assert_allclose(after[1], np.array([3.0, 4.0]) * (1 - 0.05 * 0.1), rtol=1e-6)


@pytest.mark.parametrize("name", MOMENTA)
def test_keras_momentum_moves_rows_without_gradient(name: str) -> None:
    """Not before they had one; from then on at each step."""
    table = variable([[1.0, 2.0], [3.0, 4.0]])
    optimizer = MOMENTA[name]()
    assert same_arrays([stepped(optimizer, table, [ROWS])[1]], [np.array([3.0, 4.0], "float32")])
    once = stepped(optimizer, table, [np.ones((2, 2))])[1]
    assert (np.abs(stepped(optimizer, table, [ROWS])[1] - once) > 0.01).all()


@pytest.mark.parametrize("name", [*MOVERS, *MOMENTA])
def test_frostline_frozen_weights_do_not_move_with_a_zero_gradient(name: str) -> None:
    """Neither decay nor momentum from when it trained moves a weight that the plan freezes."""
    make = {**MOVERS, **MOMENTA}[name]
    model = compiled(two_dense(), optimizer=make())
    frostline_fit(model, fl.Plan(default="train"))
    before = values(model)
    run = frostline_fit(model, ONLY_B, epochs=3)
    assert changed(model, before) == weights_in(model, "b")
    assert run.verification.of("intact") == ("a/kernel", "a/bias")
    # And back: the momentum it had is still there, so a gradient of zero moves it again, as in Keras.
    fl.apply(model, fl.Plan(default="train"))
    kernel = model.get_layer("a").kernel
    before = values(model)
    model.optimizer.apply([keras.ops.zeros(kernel.shape)], [kernel])
    assert changed(model, before) == {"a/kernel"}


# --- averages -------------------------------------------------------------------------------


AFTER_EMA = {
    "tensorflow": "Shape mismatch",
    "jax": "does not match the length of model variables",
    "torch": "does not match the length of model variables",
}


def averaging() -> Any:
    return keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.5)


def test_keras_freezing_after_a_fit_with_averages_raises() -> None:
    """On all three: the list of averages is longer than that of trained weights."""
    model = compiled(two_dense(), optimizer=averaging())
    keras_fit(model)
    model.get_layer("a").trainable = False
    with pytest.raises(ValueError, match=AFTER_EMA[BACKEND]):
        keras_fit(model)


def test_frostline_freezing_after_a_fit_with_averages() -> None:
    """Frozen weights keep the average that they ended with; the others go on as if alone."""
    model = compiled(two_dense(), optimizer=averaging())
    frostline_fit(model, fl.Plan(default="train"))
    before = values(model)
    run = frostline_fit(model, ONLY_B, epochs=2)
    assert changed(model, before) == weights_in(model, "b")
    assert run.verification.ok

    setting = Optimizer("Adam", {"learning_rate": 0.05, "use_ema": True, "ema_momentum": 0.5}, 3)
    alone = Reference(two_dense(), setting)
    alone.train(fl.Plan(default="train"), 1, None, data_for(model))
    alone.train(ONLY_B, 2, None, data_for(model))
    for address, value in values(alone.model).items():
        np.testing.assert_allclose(values(model)[address], value, rtol=1e-5, atol=1e-6)


# --- the numbers of momentum and epsilon ------------------------------------------------------

RATES = [0.5] * 4 + [0.05] * 4


def folded(rates: list[float]) -> float:
    """Momentum as Keras has it: the buffer holds rate times gradient. All gradients are 1."""
    value, buffer = 1.0, 0.0
    for rate in rates:
        buffer = 0.9 * buffer - rate
        value += buffer
    return value


def unfolded(rates: list[float]) -> float:
    """Momentum as PyTorch has it: the rate multiplies the buffer."""
    value, buffer = 1.0, 0.0
    for rate in rates:
        buffer = 0.9 * buffer + 1.0
        value -= rate * buffer
    return value


def test_keras_folds_the_rate_into_the_momentum() -> None:
    """So a lower rate goes on with the steps of the higher one for a while; PyTorch's does not."""
    optimizer, weight = keras.optimizers.SGD(0.5, momentum=0.9), variable([1.0])
    for rate in RATES:
        optimizer.learning_rate = rate
        stepped(optimizer, weight, [[1.0]])
    assert value_of(weight)[0] == pytest.approx(folded(RATES), rel=1e-6)
    assert abs(folded(RATES) - unfolded(RATES)) > 3
    assert folded([0.5] * 8) == pytest.approx(unfolded([0.5] * 8))


def test_frostline_rates_of_phases_are_those_of_keras() -> None:
    """A multiplier that changes between phases is a rate that changes, alike on all three backends."""
    model = one_weight()
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), lambda y, p: keras.ops.mean(p))
    phases = (fl.Phase("fast", steps=4), fl.Phase("slow", steps=4, lr=0.1))
    schedule = fl.Schedule(fl.Plan(default="train"), phases)
    fl.fit(model, schedule, np.ones((8, 1)), np.ones((8, 1)), batch_size=1, verbose=0)
    assert value_of(model.weights[0])[0, 0] == pytest.approx(folded(RATES), rel=1e-6)


def one_weight() -> keras.Model:
    """Multiplies by a weight of 1."""
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="w")
    return keras.Sequential([keras.Input((1,)), dense])


def adam_step(gradient: float, *, before_correction: bool) -> float:
    """The first step of Adam at rate 1, with its epsilon of 1e-7 where Keras or where PyTorch has it."""
    mean, square, epsilon = 0.1 * gradient, 0.001 * gradient**2, 1e-7
    if before_correction:
        return mean * np.sqrt(0.001) / 0.1 / (np.sqrt(square) + epsilon)
    return (mean / 0.1) / (np.sqrt(square / 0.001) + epsilon)


@pytest.mark.parametrize(("gradient", "apart"), [(1.0, 1e-5), (1e-4, 0.02), (1e-6, 0.6)])
def test_keras_adds_the_epsilon_of_adam_before_the_correction(gradient: float, apart: float) -> None:
    """So it counts thirty times as much at the first step: 3% at gradients of 1e-4."""
    moved = -stepped(keras.optimizers.Adam(1.0), variable([0.0]), [[gradient]])[0]
    keras_has = adam_step(gradient, before_correction=True)
    assert moved == pytest.approx(keras_has, rel=2e-3 if gradient < 1e-5 else 1e-4)
    difference = abs(1 - keras_has / adam_step(gradient, before_correction=False))
    assert difference < apart if apart < 1e-3 else difference > apart


@pytest.mark.parametrize("gradient", [1.0, 1e-4])
def test_frostline_late_joiners_have_the_epsilon_of_a_first_step(gradient: float) -> None:
    """Under a plan Adam is Keras's: who joins at step four makes its own first step, epsilon included."""
    weights = [variable([0.0]), variable([0.0])]
    layer = Two(weights)
    optimizer = fl.optimizer_for(layer, fl.Plan().train("first"), keras.optimizers.Adam(1.0))
    for _ in range(3):
        optimizer.apply([keras.ops.ones(1)], layer.trainable_variables)
    fl.optimizer_for(layer, fl.Plan().train("first").train("second"), optimizer)
    optimizer.apply([keras.ops.ones(1), keras.ops.full((1,), gradient)], layer.trainable_variables)
    moved = -value_of(layer.second)[0]
    assert moved == pytest.approx(adam_step(gradient, before_correction=True), rel=1e-4)


@keras.saving.register_keras_serializable("frostline_tests")
class Two(keras.layers.Layer):
    """Two weights, `first` and `second`."""

    def __init__(self, values: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = self.add_weight(shape=(1,), initializer="zeros", name="first")
        self.second = self.add_weight(shape=(1,), initializer="zeros", name="second")
        self.built = True


# --- all at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Lion"])
def test_keras_on_pytorch_updates_all_at_once(name: str) -> None:
    """There `update_step` is not called; elsewhere it is, once for each weight."""
    optimizer = getattr(keras.optimizers, name)(0.1)
    called = []
    original = optimizer.update_step

    def update_step(*given: Any, **named: Any) -> Any:
        called.append(given)
        return original(*given, **named)

    object.__setattr__(optimizer, "update_step", update_step)
    weights = [variable([1.0]), variable([2.0])]
    optimizer.apply([keras.ops.ones(1)] * 2, weights)
    assert len(called) == (0 if BACKEND == "torch" else 2)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Lion"])
def test_frostline_groups_hold_however_weights_are_updated(name: str) -> None:
    """The first step at a tenth of the rate is a tenth as long."""
    steps = []
    for lr in (1.0, 0.1):
        layer = Two()
        plan = fl.Plan(default="train").train("second", lr=lr)
        optimizer = fl.optimizer_for(layer, plan, getattr(keras.optimizers, name)(0.1))
        optimizer.apply([keras.ops.ones(1)] * 2, layer.trainable_variables)
        steps.append((value_of(layer.first)[0], value_of(layer.second)[0]))
    (whole, same), (unchanged, tenth) = steps
    assert whole == same == unchanged != 0
    assert tenth == pytest.approx(whole / 10, rel=1e-5)


# --- several optimizers -----------------------------------------------------------------------

with_several = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has it from 3.15 on"
)


def several(**patterns: Any) -> Any:
    """Keras's `MultiOptimizer`, by regular expressions of paths; plain SGD for the rest."""
    mapped = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), patterns)
    return keras.optimizers.MultiOptimizer(mapped)


def test_keras_a_pattern_that_matches_nothing_is_silent(recwarn: pytest.WarningsRecorder) -> None:
    """A misspelt layer, or the missing name of the model, trains with the default."""
    model = compiled(two_dense(), optimizer=several(**{"bb/.*": keras.optimizers.SGD(0.0)}))
    assert moved_by(model, lambda: keras_fit(model)) == weights_in(model, "a", "b")
    assert [str(w.message) for w in recwarn if "bb" in str(w.message)] == []


def test_frostline_a_rule_that_matches_nothing_is_an_error() -> None:
    model = compiled(two_dense())
    with pytest.raises(UnmatchedRuleError, match="rule 1"):
        frostline_fit(model, fl.Plan(default="train").train("bb/**", lr=0.5))


def test_keras_overlapping_patterns_raise() -> None:
    patterns = {".*kernel": keras.optimizers.SGD(0.1), "b/.*": keras.optimizers.SGD(0.2)}
    model = compiled(two_dense(), optimizer=several(**patterns))
    with pytest.raises(ValueError, match="Multiple optimizers assigned to variable"):
        keras_fit(model)


def test_frostline_of_overlapping_rules_the_last_decides() -> None:
    plan = fl.Plan(default="train").train("**/kernel", lr=0.5).train("b/**", lr=0.25)
    resolution = plan.resolve(two_dense())
    assert {d.weight.address: d.lr for d in resolution} == {
        "a/kernel": 0.5,
        "a/bias": 1.0,
        "b/kernel": 0.25,
        "b/bias": 0.25,
    }


def test_keras_unfreezing_under_several_optimizers() -> None:
    """Raises on all three, on TensorFlow and JAX as a bare KeyError."""
    model = two_dense()
    model.get_layer("a").trainable = False
    compiled(model, optimizer=several(**{"b/.*": keras.optimizers.Adam(0.05)}))
    keras_fit(model)
    model.get_layer("a").trainable = True
    with pytest.raises((ValueError, KeyError)):
        keras_fit(model)


def test_frostline_unfreezing_with_a_rate_of_its_own() -> None:
    """What a `MultiOptimizer` is taken for, rates by layer, goes through unfreezing in a plan."""
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    assert moved_by(model, lambda: frostline_fit(model, ONLY_B)) == weights_in(model, "b")
    plan = fl.Plan().train("b/**").train("a/**", lr=0.1)
    assert moved_by(model, lambda: frostline_fit(model, plan)) == weights_in(model, "a", "b")


@with_several
def test_frostline_refuses_several_optimizers() -> None:
    """With a text that says what to do; the model is as before."""
    model = compiled(two_dense(), optimizer=several(**{"b/.*": keras.optimizers.Adam(0.05)}))
    before, flags = values(model), [v.trainable for v in model.weights]
    with pytest.raises(OptimizerError) as caught:
        frostline_fit(model, ONLY_B)
    assert str(caught.value) == (
        "an optimizer of type MultiOptimizer cannot be used with a plan.\n"
        "  received: one of Adam at 0.05, SGD at 0.1\n"
        "  expected: one keras.optimizers.Optimizer, or a LossScaleOptimizer around one\n"
        "  fix:      compile with one of these, and give the other weights a multiple of its rate in the "
        "plan: "
        ".train('backbone/**', lr=0.1)"
    )
    assert changed(model, before) == set()
    assert [v.trainable for v in model.weights] == flags


@with_several
def test_frostline_says_the_same_as_several_optimizers() -> None:
    """The remedy, followed: the rates of two optimizers of one kind, as multiples in a plan."""
    theirs = compiled(two_dense(), optimizer=several_of_adam(rest=0.005, b=0.05))
    keras_fit(theirs)
    ours = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    frostline_fit(ours, fl.Plan().train("a/**", lr=0.1).train("b/**"))
    for one, other in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def several_of_adam(*, rest: float, b: float) -> Any:
    """One Adam for the layer `b`, and one for the rest."""
    mapped = keras.optimizers.OptimizerMap(
        keras.optimizers.Adam(rest), {"(.*/)?b/.*": keras.optimizers.Adam(b)}
    )
    return keras.optimizers.MultiOptimizer(mapped)


# --- found on the way -------------------------------------------------------------------------


def test_keras_on_tensorflow_squares_gradients_of_repeated_ids_apart() -> None:
    """Adam's mean of squares holds g1^2 + g2^2 of a token that comes twice there, elsewhere (g1 + g2)^2."""
    embedding = keras.layers.Embedding(2, 1, embeddings_initializer="zeros", name="e")
    model = keras.Sequential([keras.Input((2,), dtype="int32"), embedding])
    model.compile(keras.optimizers.Adam(0.1), lambda y, p: keras.ops.sum(p))
    model.train_on_batch(np.zeros((1, 2), "int32"), np.zeros((1, 2, 1)))
    step = -value_of(embedding.embeddings)[0, 0]
    assert step == pytest.approx(0.1 * (np.sqrt(2) if BACKEND == "tensorflow" else 1.0), rel=1e-3)


def test_keras_loses_the_product_of_nadam_under_a_scaled_loss() -> None:
    """`LossScaleOptimizer` builds what it wraps untracked: the product is not a variable of it, nor saved."""
    for wrapped in (False, True):
        inner = keras.optimizers.Nadam(0.1)
        outer = keras.optimizers.LossScaleOptimizer(inner) if wrapped else inner
        outer.build([variable([1.0])])
        assert any(v is inner._u_product for v in outer.variables) == (not wrapped)
