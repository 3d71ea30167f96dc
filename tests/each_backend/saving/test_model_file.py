"""`save_model` and `load_model`: every decision, every slot, and the same numbers from there on."""

from __future__ import annotations

import random
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from frostline.optimizers.state import named_variables
from frostline.parametrization.base import Parametrization
from frostline.saving.optimizer_state import targets_by_address
from helpers import parametrized_models as zoo
from helpers.checks import (
    every_call,
    every_flag,
    frostline_fit,
    keras_fit,
    optimizer_state,
    same_arrays,
    values,
)
from helpers.plainly import opened_plainly
from helpers.small_models import (
    INPUTS,
    OUTPUTS,
    attention,
    batch_norm,
    compiled,
    custom_block,
    data_for,
    nested_dropout,
    subclassed,
    two_dense,
    value_of,
)


@keras.saving.register_keras_serializable("frostline_tests")
@dataclass(frozen=True)
class Shift(Parametrization):
    """Moves a weight by one number, the same for all its elements."""

    factor: float = 1.0

    def start(self, weight: Any) -> dict[str, Any]:
        return {"shift": ops.zeros((), dtype=weight.dtype)}

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def combine(self, base: Any, parts: Any) -> Any:
        return base + self.factor * parts["shift"]


class Unregistered(Shift):
    pass


def saved_and_loaded(model: keras.Model, folder: Path, **arguments: Any) -> keras.Model:
    fl.save_model(model, folder / "model.keras")
    return fl.load_model(folder / "model.keras", **arguments)


def by_name(model: keras.Model) -> dict[str, np.ndarray]:
    """All variables of the optimizer, by names that hold in every process."""
    targets = targets_by_address(model.optimizer, fl.inventory(model))
    return {n: value_of(v) for n, v in named_variables(model.optimizer, targets).items()}


def parts(model: keras.Model) -> dict[str, np.ndarray]:
    """Bases and parts of parametrized weights, by address."""
    found = {}
    for weight in fl.inventory(model):
        if weight.combination is not None:
            found[f"{weight.address}:"] = value_of(weight.combination.base)
            found |= {address: value_of(variable) for address, variable in weight.targets}
    return found


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and same_arrays(one.values(), [two[key] for key in one])


def require_alike(one: keras.Model, two: keras.Model) -> None:
    """Values, flags, modes, parametrizations and slots, bit by bit."""
    assert same(values(one), values(two))
    # Keras numbers the layers inside MultiHeadAttention anew.
    flags = [{re.sub(r"_\d+$", "", a): flag for a, flag in every_flag(model).items()} for model in (one, two)]
    assert flags[0] == flags[1]
    calls = [{a for a, call in every_call(model).items() if call is not None} for model in (one, two)]
    assert calls[0] == calls[1]
    assert same(parts(one), parts(two))
    assert same(by_name(one), by_name(two))


def require_goes_on(one: keras.Model, two: keras.Model, train: Callable[[keras.Model], Any]) -> None:
    """Training gives both the same numbers."""
    before = values(one)
    for model in (one, two):
        keras.utils.set_random_seed(11)
        train(model)
    assert not same(values(one), before)
    require_alike(one, two)


# Parametrized weights -----------------------------------------------------------------------------


def fitted_zoo(optimizer: Any) -> keras.Model:
    return zoo.train(zoo.network(), optimizer, epochs=1)


def zoo_fit(model: keras.Model) -> None:
    model.fit(*zoo.data(), batch_size=4, shuffle=False, verbose=0)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optimizers.AdamW(0.05, weight_decay=0.1),
        lambda: optimizers.SGD(0.05, momentum=0.9),
    ],
    ids=["adamw", "momentum"],
)
def test_every_parametrization_comes_back_and_trains_on(optimizer: Callable[[], Any], tmp_path: Path) -> None:
    model = fitted_zoo(optimizer())
    loaded = saved_and_loaded(model, tmp_path)
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]
    paths = {w.address: w.part for w in fl.inventory(model) if w.part}
    assert len(paths) == len(zoo.HOW)
    assert {w.address: w.part for w in fl.inventory(loaded) if w.part} == paths
    require_alike(model, loaded)
    require_goes_on(model, loaded, zoo_fit)


def test_the_start_of_a_parametrized_weight_comes_back_too(tmp_path: Path) -> None:
    """What `remove(merge=False)` gives back after training, and what it trains as then."""
    model = fitted_zoo(optimizers.Adam(0.05))
    start = values(zoo.plain_network())
    loaded = saved_and_loaded(model, tmp_path)
    for weight in fl.inventory(loaded):
        if weight.combination is not None:
            weight.variable.frostline_placed.remove(keep=False)
    assert same(values(loaded), start)


def test_a_parametrization_of_ones_own(tmp_path: Path) -> None:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    fl.parametrize(model, "a/kernel", Shift(2.0))
    keras_fit(model)
    loaded = saved_and_loaded(model, tmp_path)
    assert fl.inventory(loaded).by_address["a/kernel"].combination.how == Shift(2.0)
    require_goes_on(model, loaded, keras_fit)


def test_a_frozen_part_stays_frozen(tmp_path: Path) -> None:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    fl.parametrize(model, "a/kernel", fl.Columns([0, 2]))
    keras_fit(model)
    fl.apply(model, fl.Plan().train("b/**"))
    loaded = saved_and_loaded(model, tmp_path)
    assert [v.path for v in loaded.trainable_variables] == ["b/kernel", "b/bias"]
    require_alike(model, loaded)


# Flags, plans, modes ------------------------------------------------------------------------------


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


# What plain Keras finds ---------------------------------------------------------------------------


def planned(plan: fl.Plan) -> keras.Model:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    frostline_fit(model, plan)
    return model


def test_plain_keras_opens_every_file_and_predicts_the_same(tmp_path: Path) -> None:
    """Merged weights; the optimizer where it fits: Keras knows a frozen layer, and not a frozen weight.

    Of a model that was compiled and not trained Keras itself would warn, in a file of its own.
    """
    models = {
        "parametrized": (fitted_zoo(optimizers.Adam(0.05)), None),
        "layer": (planned(fl.Plan().train("b/**")), 2),
        "all": (planned(fl.Plan(default="train")), 2),
        "weight": (planned(fl.Plan().train("*/kernel")), None),
        "untrained": (compiled(custom_block(), optimizers.Adam(0.05)), None),
    }
    inputs = {}
    for name, (model, _) in models.items():
        fl.save_model(model, tmp_path / f"{name}.keras")
        inputs[tmp_path / f"{name}.keras"] = (zoo.data() if name == "parametrized" else data_for(model))[0]
    for path, plain in opened_plainly(inputs).items():
        model, steps = models[path.stem]
        assert (plain.compiled, plain.steps) == (steps is not None, steps), path.stem
        own = model.predict(inputs[path], verbose=0)
        np.testing.assert_allclose(plain.outputs, own, rtol=1e-5, atol=1e-6)
        if path.stem in ("layer", "all", "weight"):
            require_alike(model, fl.load_model(path))


def test_a_file_names_no_backend(tmp_path: Path) -> None:
    """On PyTorch, Keras writes `keras.src.backend.torch`, and no other backend can train with that."""
    for name, plan in (("fits", fl.Plan(default="train")), ("not", fl.Plan().train("*/kernel"))):
        model = compiled(two_dense(), optimizers.LossScaleOptimizer(optimizers.Adam(0.05)))
        frostline_fit(model, plan)
        fl.save_model(model, tmp_path / f"{name}.keras")
        with zipfile.ZipFile(tmp_path / f"{name}.keras") as archive:
            text = archive.read("config.json") + archive.read("frostline.json")
        assert b"keras.src.backend" not in text
        assert type(fl.load_model(tmp_path / f"{name}.keras").optimizer) is type(model.optimizer)


def test_a_model_that_was_compiled_and_not_trained(tmp_path: Path) -> None:
    model = compiled(custom_block(), optimizers.Adam(0.05))
    require_goes_on(model, saved_and_loaded(model, tmp_path), keras_fit)


def test_a_model_that_was_not_compiled(tmp_path: Path) -> None:
    model = two_dense()
    fl.parametrize(model, "a/kernel", fl.Columns([1]))
    loaded = saved_and_loaded(model, tmp_path)
    assert not loaded.compiled
    assert same(parts(loaded), parts(model))
    assert every_flag(loaded) == every_flag(model)


def test_a_model_loaded_uncompiled(tmp_path: Path) -> None:
    model = fitted_zoo(optimizers.Adam(0.05))
    loaded = saved_and_loaded(model, tmp_path, compile=False)
    assert not loaded.compiled
    assert same(parts(loaded), parts(model))


def test_a_file_of_keras_itself_is_opened(tmp_path: Path) -> None:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    keras_fit(model)
    model.save(tmp_path / "model.keras")
    require_goes_on(model, fl.load_model(tmp_path / "model.keras"), keras_fit)


# The live model -----------------------------------------------------------------------------------


def test_saving_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = compiled(custom_block(), optimizers.Adam(0.05))
    fl.parametrize(model, "head/kernel", fl.LowRank(1))
    frostline_fit(model, fl.Plan().train("head/**").train("block/inner/kernel"))

    def all_of_it() -> list[Any]:
        keys = [sorted(vars(one)) for one in (model, model.optimizer, *model.layers)]
        function = model.train_function
        return [keys, every_flag(model), every_call(model), function, random.getstate(), fl.deltas(model)]

    before, numbers, held = all_of_it(), values(model) | parts(model), optimizer_state(model)
    variables = [id(v) for v in (*model.weights, *model.optimizer.variables)]
    fl.save_model(model, tmp_path / "model.keras")
    assert all_of_it() == before
    assert same(values(model) | parts(model), numbers)
    assert same_arrays(optimizer_state(model), held)
    assert [id(v) for v in (*model.weights, *model.optimizer.variables)] == variables


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")
    model = two_dense()
    fl.parametrize(model, "a/kernel", Unregistered())
    with pytest.raises(fl.FrostlineError) as failed:
        fl.save_model(model, path)
    assert str(failed.value) == (
        "Unregistered cannot be written to a file: Keras does not know the class.\n"
        f"  received: {__name__}.Unregistered\n"
        "  expected: a registered class, so that it is found again on loading\n"
        "  fix:      give it a method get_config, and put "
        '@keras.saving.register_keras_serializable("my_package") above it'
    )
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("model.keras", b"old")]


def test_saving_is_tried_only_on_what_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    fl.save_model(two_dense(), path)
    with pytest.raises(fl.FrostlineError, match=r"model\.keras' exists already"):
        fl.save_model(two_dense(), path, overwrite=False)
    with pytest.raises(fl.FrostlineError, match=r"model\.h5' is not a name for a saved model"):
        fl.save_model(two_dense(), tmp_path / "model.h5")
    with pytest.raises(fl.FrostlineError, match=r"only a keras\.Model can be saved"):
        fl.save_model(layers.Dense(2), path)
    with pytest.raises(fl.FrostlineError, match=r"cannot write .*: No such file or directory"):
        fl.save_model(two_dense(), tmp_path / "none" / "model.keras")


# Files that are not as they were ------------------------------------------------------------------


def rewritten(path: Path, **members: bytes | None) -> Path:
    """The archive with other members; None leaves one out. Dots in names are written as `__`."""
    other = path.with_name("other.keras")
    changed = {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = changed.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return other


def refused(path: Path, **arguments: Any) -> str:
    with pytest.raises(fl.FrostlineError) as failed:
        fl.load_model(path, **arguments)
    return str(failed.value).replace(str(path), path.name)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = compiled(two_dense(), optimizers.Adam(0.05))
    fl.parametrize(model, "a/kernel", fl.LowRank(1, seed=2))
    keras_fit(model)
    fl.save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_an_altered_file_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        text, values = archive.read("frostline.json"), archive.read("frostline.safetensors")
    what = (
        "the decisions in 'other.keras' were altered after they were written.\n"
        "  received: frostline.json: {}\n"
        "  expected: what frostline.save_model wrote\n"
        "  fix:      ask for the file as it was saved; keras.models.load_model opens the model plainly"
    )
    swapped = text.replace(b'"trains": true', b'"trains": false', 1)
    assert swapped != text
    assert refused(rewritten(saved, frostline__json=swapped)) == what.format("its own digest does not fit")
    assert refused(rewritten(saved, frostline__json=b"{")) == what.format("it is not JSON")
    other = what.format("frostline.safetensors is not the one it was written with")
    spoilt = values[:-1] + bytes([values[-1] ^ 1])
    assert refused(rewritten(saved, frostline__safetensors=spoilt)) == other
    assert refused(rewritten(saved, frostline__safetensors=None)) == other
    newer = text.replace(b'"frostline_model": 1', b'"frostline_model": 2')
    assert refused(rewritten(saved, frostline__json=newer)).startswith(
        "the decisions in 'other.keras' are of another version of Frostline.\n  received: version 2\n"
    )
    plain = fl.load_model(rewritten(saved, frostline__json=None, frostline__safetensors=None))
    assert [v.path for v in plain.trainable_variables] == ["a/kernel", "a/bias", "b/kernel", "b/bias"]


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-200])
    assert refused(saved).startswith("'model.keras' is truncated or damaged: ")
    saved.unlink()
    assert refused(saved) == "there is no model 'model.keras'.\n  expected: a .keras file, or module:function"


def test_decisions_of_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        text, values = archive.read("frostline.json"), archive.read("frostline.safetensors")
    fl.save_model(custom_block(), tmp_path / "block.keras")
    mixed = rewritten(tmp_path / "block.keras", frostline__json=text)
    with zipfile.ZipFile(mixed, "a") as archive:
        archive.writestr("frostline.safetensors", values)
    assert refused(mixed).splitlines()[:2] == [
        "'other.keras' cannot be restored: the decisions in the file are of another model than the one in "
        "it.",
        "  received: these differ: a/kernel, a/bias, b/kernel, b/bias, block/inner/kernel and 5 more",
    ]


def test_a_class_that_is_not_known_is_named(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("passing")
    class Passing(Shift):
        pass

    model = two_dense()
    fl.parametrize(model, "a/kernel", Passing(2.0))
    path = tmp_path / "model.keras"
    fl.save_model(model, path)
    keras.saving.get_custom_objects().pop("passing>Passing")
    assert refused(path) == (
        "'model.keras' cannot be restored: a weight was parametrized by 'passing>Passing', which nothing "
        "that was imported defines.\n"
        "  fix:      import the module that defines it first, or give the class in custom_objects"
    )
    loaded = fl.load_model(path, custom_objects={"Passing": Passing})
    assert same(parts(loaded), parts(model))


def test_python_code_is_refused_unless_asked_for(tmp_path: Path) -> None:
    stack = [keras.Input((3,)), layers.Lambda(lambda x: x + 1, output_shape=(3,)), layers.Dense(2)]
    path = tmp_path / "model.keras"
    fl.save_model(keras.Sequential(stack), path)
    said = refused(path)
    assert said.startswith("Keras cannot load 'model.keras'.")
    assert said.endswith("fix:      it contains Python code: if you trust it, pass safe_mode=False")
    assert len(fl.load_model(path, safe_mode=False).layers) == 2
