"""`fl.apply`, `fl.applied` and `undo`: what they change, what they put back, what they refuse."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import frostline as fl
from frostline._keras.layers import set_layer_flag
from helpers.applied_plans import adam, everything
from helpers.checks import (
    all_weights,
    changed,
    every_call,
    every_flag,
    flags_that_train,
    keras_fit,
    optimizer_state,
    require_obeys,
    require_slots,
    same_arrays,
    values,
    weights_in,
)
from helpers.small_models import (
    attention,
    batch_norm,
    compiled,
    custom_block,
    data_for,
    nested_dropout,
    saved_and_loaded,
    sequential,
    square_layers,
    subclassed,
    two_dense,
)

pytestmark = pytest.mark.every_backend

Build = Callable[[], keras.Model]
MODELS = [two_dense, sequential, subclassed, custom_block, nested_dropout, batch_norm, attention]


PLANS = [
    fl.Plan(),
    fl.Plan(default="train"),
    fl.Plan().train("last:1"),
    fl.Plan(default="train", batchnorm="update", stochastic="active").freeze("first:2"),
    fl.Plan().train("**/bias"),
]


each_model = pytest.mark.parametrize("build", MODELS, ids=lambda one: one.__name__)


def with_odd_flags(model: keras.Model, seed: int) -> keras.Model:
    """The model with flags of layers, weights and statistics drawn at random, each on its own."""
    rng = np.random.default_rng(seed)
    held = fl.inventory(model)
    for node in held.layers:
        set_layer_flag(node.layer, bool(rng.integers(2)))
    for weight in held.of_role("weight", "statistic"):
        weight.variable.trainable = bool(rng.integers(2))
    return model


# --- undo -------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_undo_puts_every_flag_back(build: Build, seed: int | None) -> None:
    model = build() if seed is None else with_odd_flags(build(), seed)
    before = everything(model)
    numbers = values(model)
    for plan in PLANS:
        fl.apply(model, plan).undo()
        assert everything(model) == before
    assert changed(model, numbers) == set()


@each_model
def test_scope_puts_every_flag_back_after_an_exception(build: Build) -> None:
    model = with_odd_flags(build(), 3)
    before = everything(model)
    with pytest.raises(KeyError, match="on purpose"), fl.applied(model, PLANS[2]) as resolution:
        assert flags_that_train(model) == {d.weight.address for d in resolution.trained}
        raise KeyError("on purpose")

    assert everything(model) == before


@each_model
def test_nested_scopes_restore_one_by_one(build: Build) -> None:
    model = compiled(with_odd_flags(build(), 4))
    outside = everything(model)
    with fl.applied(model, PLANS[2]):
        first = everything(model)
        with fl.applied(model, PLANS[3]):
            with fl.applied(model, PLANS[0]):
                assert flags_that_train(model) == set()
            assert flags_that_train(model) == trained_by(PLANS[3], model)
        assert everything(model) == first
    assert everything(model) == outside


def trained_by(plan: fl.Plan, model: keras.Model) -> set[str]:
    """The addresses that a plan trains."""
    return {d.weight.address for d in plan.resolve(model).trained}


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")
@pytest.mark.parametrize("fitted", [False, True])
def test_statistics_flagged_by_hand_do_not_train(fitted: bool) -> None:
    """`for v in model.weights: v.trainable = True` makes Keras train statistics, a plan does not."""
    model = compiled(batch_norm(), optimizer=adam())
    for variable in model.weights:
        variable.trainable = True
    x, y = data_for(model)
    model.evaluate(x, y, verbose=0)  # makes the metrics
    if fitted:
        keras_fit(model)
    before = everything(model)
    applied = fl.apply(model, fl.Plan(default="train"))

    assert flags_that_train(model) == all_weights(model)
    keras_fit(model)
    require_slots(model, all_weights(model))
    applied.undo()
    assert everything(model) == before
    require_slots(model, set(values(model)))
    keras_fit(model)


def test_second_undo_does_nothing() -> None:
    model = two_dense()
    applied = fl.apply(model, fl.Plan().train("b/**"))
    applied.undo()
    model.get_layer("b").bias.trainable = False
    by_hand = everything(model)
    applied.undo()

    assert everything(model) == by_hand


def test_plans_follow_each_other_without_undo() -> None:
    """What a plan leaves does not depend on the plans before it."""
    model, fresh = nested_dropout(), nested_dropout()
    for plan in (fl.Plan().train("head/**"), fl.Plan(stochastic="active").train("head/**")):
        fl.apply(model, plan)
    fl.apply(fresh, fl.Plan(stochastic="active").train("head/**"))

    assert every_flag(model) == every_flag(fresh)
    assert every_call(model) == every_call(fresh)


def test_undo_keeps_a_call_that_somebody_replaced() -> None:
    model = nested_dropout()
    layer = model.get_layer("backbone").get_layer("drop")
    own = layer.call
    object.__setattr__(layer, "call", lambda inputs, training=False: own(inputs, training=False))
    replaced = vars(layer)["call"]
    with fl.applied(model, fl.Plan().train("head/**")):
        assert vars(layer)["call"] is not replaced

    assert vars(layer)["call"] is replaced


# --- undo on a compiled model -----------------------------------------------------------------


def test_undone_model_trains_as_before() -> None:
    """Fit, apply, undo, fit gives the numbers and the slots of fit, fit."""
    model, plain = (compiled(two_dense(), optimizer=adam()) for _ in range(2))
    keras_fit(model)
    fl.apply(model, fl.Plan().train("b/bias", lr=0.5)).undo()
    keras_fit(model)
    for _ in range(2):
        keras_fit(plain)

    for one, other in zip(optimizer_state(model), optimizer_state(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    for one, other in zip(values(model).values(), values(plain).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_undo_after_training_in_a_scope() -> None:
    """What trained in the scope keeps what it learned; afterwards all trains again."""
    model = compiled(two_dense(), optimizer=adam())
    before = values(model)
    with fl.applied(model, fl.Plan().train("b/**")):
        keras_fit(model)
    assert changed(model, before) == {"b/kernel", "b/bias"}

    keras_fit(model)
    assert changed(model, before) == all_weights(model)
    require_slots(model, all_weights(model))


def test_undo_goes_back_to_the_plan_before() -> None:
    """Multipliers of the outer plan hold again after the inner scope."""
    model, plain = (compiled(two_dense()) for _ in range(2))
    outer = fl.Plan().train("b/**", lr=0.1)
    for one in (model, plain):
        fl.apply(one, outer)
    with fl.applied(model, fl.Plan(default="train")):
        pass
    for one in (model, plain):
        keras_fit(one)

    assert all(
        np.allclose(one, other, rtol=1e-6)
        for one, other in zip(values(model).values(), values(plain).values(), strict=True)
    )


def test_scope_before_the_first_fit_leaves_the_optimizer_free() -> None:
    """After a scope without training, flags set by hand reach the first `fit` as in Keras."""
    model = compiled(two_dense(), optimizer=adam())
    variables = optimizer_state(model)
    with fl.applied(model, fl.Plan().train("b/**")):
        require_slots(model, {"b/kernel", "b/bias"})
    assert not model.optimizer.built
    assert same_arrays(optimizer_state(model), variables)

    model.get_layer("b").trainable = False
    before = values(model)
    keras_fit(model)
    assert changed(model, before) == {"a/kernel", "a/bias"}
    require_slots(model, {"a/kernel", "a/bias"})


def test_apply_leaves_predictions_as_they_are() -> None:
    """`predict` and `evaluate` before, under and after a plan agree, compiled functions and all."""
    model = compiled(batch_norm(), optimizer=adam())
    x, y = data_for(model)

    def seen() -> tuple[list[list[float]], float]:
        return model.predict(x, verbose=0).tolist(), model.evaluate(x, y, verbose=0)

    before = seen()
    with fl.applied(model, fl.Plan().train("b/**")):
        assert seen() == before
    assert seen() == before


# --- what a plan is put on --------------------------------------------------------------------


def test_apply_to_a_single_layer() -> None:
    """A layer will do, and a nested model; the model around it follows."""
    model = nested_dropout()
    backbone = model.get_layer("backbone")
    with fl.applied(backbone, fl.Plan().train("a/bias")):
        assert flags_that_train(model) == {"backbone/a/bias", "head/kernel", "head/bias"}
    fl.apply(backbone.get_layer("a"), fl.Plan().train("kernel"))
    assert flags_that_train(model) == {"backbone/a/kernel", "head/kernel", "head/bias"}


def test_apply_before_compile() -> None:
    model = square_layers()
    plan = fl.Plan().train("b/**")
    fl.apply(model, plan)
    compiled(model, optimizer=adam())
    require_obeys(model, plan, weights_in(model, "b"))


def test_plan_that_trains_nothing() -> None:
    """It can be put on a compiled model, and another one after it."""
    model = compiled(two_dense(), optimizer=adam())
    for plan, trained in (
        (fl.Plan(), set()),
        (fl.Plan().train("b/**"), {"b/kernel", "b/bias"}),
        (fl.Plan(), set()),
    ):
        fl.apply(model, plan)
        assert flags_that_train(model) == trained
        require_slots(model, trained)
    x, y = data_for(model)
    before = values(model)
    model.evaluate(x, y, verbose=0)
    assert changed(model, before) == set()


def test_files_do_not_know_of_the_plan(tmp_path: Path) -> None:
    """Layers in forced inference are saved and loaded as the layers they are."""
    model = nested_dropout()
    fl.apply(model, fl.Plan().train("head/**"))
    loaded = saved_and_loaded(model, tmp_path)
    clone = keras.models.clone_model(model)

    for other in (loaded, clone):
        assert set(every_call(other).values()) == {None}
    drop = loaded.get_layer("backbone").get_layer("drop")
    assert drop.get_config() == model.get_layer("backbone").get_layer("drop").get_config()


def test_undo_in_any_order_leaves_no_plan_behind() -> None:
    model = two_dense()
    before = [variable.trainable for variable in model.weights]
    first = fl.apply(model, fl.Plan().train("a/**"))
    second = fl.apply(model, fl.Plan().train("b/**"))
    first.undo()
    assert [variable.trainable for variable in model.weights] == before
    second.undo()
    assert [variable.trainable for variable in model.weights] == before


def test_a_model_with_a_plan_is_freed_when_nobody_holds_it() -> None:
    model = two_dense()
    fl.apply(model, fl.Plan().train("a/**"))
    held = weakref.ref(model)
    del model
    gc.collect()
    assert held() is None
