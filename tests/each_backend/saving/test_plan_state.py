"""Plans, flags and modes come back with the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, optimizers

import frostline as fl
from helpers.checks import (
    frostline_fit,
    keras_fit,
    same_arrays,
    values,
)
from helpers.saved_models import Shift, by_name, require_alike, require_goes_on, saved_and_loaded
from helpers.small_models import (
    INPUTS,
    OUTPUTS,
    attention,
    batch_norm,
    compiled,
    custom_block,
    nested_dropout,
    subclassed,
    two_dense,
)

pytestmark = pytest.mark.eager


@pytest.mark.parametrize(
    ("make", "rules"),
    [
        (two_dense, [("train", "*/kernel")]),
        (attention, [("train", "mha/query/kernel"), ("train", "mha/attention_output/bias")]),
        (custom_block, [("train", "block/outer/**"), ("train", "head/bias")]),
        (subclassed, [("train", "block/inner/bias"), ("train", "head/**")]),
        (batch_norm, [("train", "b/**")]),
        (batch_norm, [("train", "**"), ("freeze", "bn/gamma")]),
        (nested_dropout, [("train", "head/**")]),
    ],
    ids=lambda given: getattr(given, "__name__", None) or "-".join(s for _, s in given).replace("/", "."),
)
def test_the_plan_and_every_flag_come_back(make: Any, rules: Any, tmp_path: Path) -> None:
    plan = fl.Plan()
    for action, chosen in rules:
        plan = getattr(plan, action)(chosen, **({"lr": 0.5} if action == "train" else {}))
    model = compiled(make(), optimizers.Adam(0.05))
    frostline_fit(model, plan)
    path = tmp_path / "model.keras"
    fl.save_model(model, path)
    loaded = fl.load_model(path)
    require_alike(model, loaded)
    require_goes_on(model, loaded, keras_fit)
    require_goes_on(model, loaded, lambda one: frostline_fit(one, plan))


def test_flags_set_by_hand_come_back(tmp_path: Path) -> None:
    model = attention()
    model.get_layer("mha").query_dense.bias.trainable = False
    model.get_layer("head").kernel.trainable = False
    compiled(model, optimizers.Adam(0.05))
    keras_fit(model)
    loaded = saved_and_loaded(model, tmp_path)
    assert not loaded.get_layer("mha").query_dense.bias.trainable
    require_goes_on(model, loaded, keras_fit)


def test_a_plan_with_a_function_comes_back_by_addresses(tmp_path: Path) -> None:
    plan = fl.Plan().train(lambda weight: weight.name == "kernel", lr=0.3).train("b/bias", decay=0.0)
    model = compiled(batch_norm(), optimizers.AdamW(0.05, weight_decay=0.2))
    frostline_fit(model, plan)
    loaded = saved_and_loaded(model, tmp_path)
    require_alike(model, loaded)
    require_goes_on(model, loaded, keras_fit)


@keras.saving.register_keras_serializable("frostline_tests")
class Unnamed(layers.Layer):
    """Makes two Dense layers without names: Keras numbers them as they come."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner, self.outer = layers.Dense(INPUTS), layers.Dense(INPUTS)

    def build(self, input_shape: Any) -> None:
        self.inner.build(input_shape)
        self.outer.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.outer(self.inner(inputs))


def unnamed_layers() -> keras.Model:
    keras.utils.set_random_seed(5)
    stack = [keras.Input((INPUTS,)), Unnamed(name="block"), layers.Dense(OUTPUTS, name="head")]
    return keras.Sequential(stack, name="unnamed")


def test_layers_without_names_are_told_by_their_order(tmp_path: Path) -> None:
    model = compiled(unnamed_layers(), optimizers.Adam(0.05))
    first, second = (
        w.address
        for w in fl.inventory(model).of_role("weight")
        if w.name == "kernel" and "block" in w.address
    )
    fl.parametrize(model, first, fl.Columns([1, 3]))
    frostline_fit(model, fl.Plan().train(first, lr=0.5).train("head/bias"))
    frostline_fit(model, fl.Plan().train(second).train("head/bias", lr=2.0))
    loaded = saved_and_loaded(model, tmp_path)
    assert [w.address for w in fl.inventory(loaded)] != [w.address for w in fl.inventory(model)]
    for one in (model, loaded):
        keras.utils.set_random_seed(11)
        keras_fit(one)
        frostline_fit(one, fl.Plan().train("**"))
    for one, two in ((values(model), values(loaded)), (by_name(model), by_name(loaded))):
        assert same_arrays(one.values(), two.values())


@keras.saving.register_keras_serializable("frostline_tests")
class Nameless(layers.Layer):
    """Has no `get_config`, so Keras gives it a new name when it makes it again."""

    def __init__(self, **others: Any) -> None:
        super().__init__(**others)
        self.inner = layers.Dense(INPUTS, name="inner")

    def build(self, input_shape: Any) -> None:
        self.inner.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


def test_layers_that_lose_their_name_are_told_by_their_order(tmp_path: Path) -> None:
    stack = [keras.Input((INPUTS,)), Nameless(name="block"), layers.Dense(OUTPUTS, name="head")]
    model = compiled(keras.Sequential(stack), optimizers.Adam(0.05))
    frostline_fit(model, fl.Plan().train("block/inner/bias", lr=0.5).train("head/**"))
    loaded = saved_and_loaded(model, tmp_path)
    assert "block/inner/bias" not in fl.inventory(loaded).by_address
    for one in (model, loaded):
        keras_fit(one)
    assert same_arrays(values(model).values(), values(loaded).values())
    assert [v.trainable for v in loaded.weights] == [v.trainable for v in model.weights]


def test_receipts_and_fingerprints_hold_for_layers_without_names_in_another_copy(tmp_path: Path) -> None:
    plan = fl.Plan().train("block/**/bias").train("head/**")
    model = compiled(unnamed_layers())
    model.save(tmp_path / "before.keras")
    before = fl.fingerprint(model)
    receipt = frostline_fit(model, plan).receipt
    model.save(tmp_path / "after.keras")
    first, last = (keras.models.load_model(tmp_path / f"{name}.keras") for name in ("before", "after"))
    assert fl.fingerprint(last).keys() != before.keys()

    assert receipt.check(before=fl.fingerprint(first), after=fl.fingerprint(last)) == []
    assert receipt.check_plan(first) == []
    assert fl.verify(last, before, plan).ok
    assert len(fl.verify(last, before, plan).of("trained")) == 4

    outer = last.get_layer("block").outer
    outer.kernel.assign(outer.kernel + 1)
    (problem,) = receipt.check(after=fl.fingerprint(last))
    assert "has other values than the receipt says in 1 variable" in problem
    assert fl.verify(last, before, plan).of("changed") == (
        f"block/{last.get_layer('block').outer.name}/kernel",
    )


ELEMENTS = (
    fl.Plan()
    .train("a/kernel", rows=[1, 3], lr=0.5)
    .train("b/kernel", via=fl.LowRank(rank=1, seed=3))
    .train("b/bias")
)


def test_the_elements_of_a_plan_come_back_as_the_plans(tmp_path: Path) -> None:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    frostline_fit(model, ELEMENTS)
    loaded = saved_and_loaded(model, tmp_path)
    require_alike(model, loaded)
    for plan in (ELEMENTS, fl.Plan().train("a/kernel", rows="1:3"), fl.Plan().train("**")):
        require_goes_on(model, loaded, lambda one, plan=plan: frostline_fit(one, plan))
    assert not [w.part for w in fl.inventory(loaded) if w.part]


def test_a_plan_with_a_parametrization_of_ones_own_comes_back(tmp_path: Path) -> None:
    plan = fl.Plan().train("a/kernel", via=Shift(2.0), lr=0.5).train("b/bias")
    model = compiled(two_dense(), optimizers.Adam(0.05))
    frostline_fit(model, plan)
    loaded = saved_and_loaded(model, tmp_path)
    require_goes_on(model, loaded, lambda one: frostline_fit(one, plan))


def test_slots_of_weights_that_left_and_joined_come_back(tmp_path: Path) -> None:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    for plan in (fl.Plan().train("a/**"), fl.Plan().train("b/**")):
        frostline_fit(model, plan)
    loaded = saved_and_loaded(model, tmp_path)
    require_goes_on(model, loaded, lambda one: frostline_fit(one, fl.Plan().train("**")))


def test_weights_without_decay_stay_so(tmp_path: Path) -> None:
    optimizer = optimizers.AdamW(0.05, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = compiled(two_dense(), optimizer)
    model.get_layer("a").bias.assign([1.0, 1.0, 1.0])
    fl.parametrize(model, "b/kernel", fl.Rows([1]))
    keras_fit(model)
    loaded = saved_and_loaded(model, tmp_path)
    require_goes_on(model, loaded, keras_fit)


def test_averages_come_back(tmp_path: Path) -> None:
    plan = fl.Plan().train("**")
    model = compiled(two_dense(), optimizers.Adam(0.05, use_ema=True, ema_overwrite_frequency=3))
    fl.parametrize(model, "a/kernel", fl.Columns([0, 2]))
    frostline_fit(model, plan)
    loaded = saved_and_loaded(model, tmp_path)
    require_goes_on(model, loaded, lambda one: frostline_fit(one, plan))


def test_loss_scaling_comes_back(tmp_path: Path) -> None:
    model = compiled(two_dense(), optimizers.LossScaleOptimizer(optimizers.Adam(0.05)))
    fl.parametrize(model, "a/kernel", fl.LowRank(1, seed=2))
    keras_fit(model)
    loaded = saved_and_loaded(model, tmp_path)
    require_goes_on(model, loaded, keras_fit)


def test_half_precision_comes_back(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    dense = layers.Dense(OUTPUTS, dtype="bfloat16", name="a")
    model = compiled(keras.Sequential([keras.Input((INPUTS,)), dense], name="half"), optimizers.Adam(0.05))
    fl.parametrize(model, "a/kernel", fl.Scale())
    keras_fit(model)
    loaded = saved_and_loaded(model, tmp_path)
    require_alike(model, loaded)
