"""`save_model` and `load_model`: every decision, every slot, and the same numbers from there on."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import frostline as fl
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
from helpers.saved_models import Shift, parts, require_alike, require_goes_on, same, saved_and_loaded
from helpers.small_models import (
    compiled,
    custom_block,
    data_for,
    two_dense,
)

pytestmark = pytest.mark.eager


class Unregistered(Shift):
    pass


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


@pytest.mark.every_backend
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


@pytest.mark.every_backend
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
