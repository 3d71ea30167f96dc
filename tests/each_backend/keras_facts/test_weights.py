"""What Keras itself does with single weights: tracking, their flags, saving, paths.

Measured, not wished for: a failure of a `test_keras_` here means that Keras has changed.
All of it is the same on the three backends. Frostline's counterpart of a fact stands right below
its Keras test.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import frostline as fl
from helpers.checks import (
    all_weights,
    flags_that_train,
    frostline_fit,
    keras_fit,
    moved_by,
    require_obeys,
    weights_in,
)
from helpers.small_models import (
    attention,
    compiled,
    custom_block,
    moved_by_fit,
    nested_dropout,
    raw_scale,
    raw_value,
    raw_variable,
    saved_and_loaded,
    sequential,
    subclassed,
    two_dense,
)


def paths_of(weights: list[keras.Variable]) -> set[str]:
    """The paths of the weights."""
    return {weight.path for weight in weights}


# Keras forgets the flags on loading, makes slots for all weights, and warns that those saved do not fit.
SLOTS_DO_NOT_FIT = "ignore:Skipping variable loading for optimizer:UserWarning"
pytestmark = pytest.mark.filterwarnings(SLOTS_DO_NOT_FIT)


def require_survives(model: keras.Model, plan: fl.Plan, trained: set[str], folder: Path) -> None:
    """Plan and model, saved and loaded: the same weights train, and training moves just these.

    The model is saved under the plan and compiled, with slots for these weights.
    """
    compiled(model, optimizer=keras.optimizers.Adam(0.05))
    fl.apply(model, plan)
    assert flags_that_train(model) == trained
    assert moved_by(model, lambda: keras_fit(model)) == trained
    plan.save(folder / "plan.yaml")

    again = fl.Plan.load(folder / "plan.yaml")
    loaded = saved_and_loaded(model, folder)
    fl.apply(loaded, again)
    require_obeys(loaded, again, trained)


# --- a variable of the backend as an attribute ------------------------------------------------


def test_keras_raw_variable_is_not_trained() -> None:
    """A raw `tf.Variable`, `nn.Parameter` or `jnp` array set as an attribute is never trained."""
    model = compiled(raw_scale())
    before = raw_value(model)

    assert paths_of(model.weights) == {"a/kernel", "a/bias", "b/kernel", "b/bias"}
    assert moved_by_fit(model) == paths_of(model.weights)
    assert np.array_equal(raw_value(model), before)


def test_keras_raw_variable_is_not_saved(tmp_path: Path) -> None:
    """A raw `tf.Variable`, `nn.Parameter` or `jnp` array set as an attribute is never saved."""
    model = raw_scale()
    model.get_layer("raw").raw = raw_variable(np.full(3, 5, "float32"))
    loaded = saved_and_loaded(model, tmp_path)

    assert raw_value(model).tolist() == [5, 5, 5]
    assert raw_value(loaded).tolist() == [1, 1, 1]


UNTRACKED = (
    "untracked: the layer 'raw' holds the raw array 'raw', which Keras neither trains nor saves; "
    "make it with self.add_weight in build"
)


def test_frostline_notes_raw_variable() -> None:
    """A note names the layer and the attribute; the inventory does not know the array."""
    model = compiled(raw_scale())
    run = frostline_fit(model, fl.Plan(default="train"))

    assert run.resolution.notes == (UNTRACKED,)
    assert UNTRACKED in " ".join(str(run.resolution).split())
    assert set(run.verification.of("trained")) == {"a/kernel", "a/bias", "b/kernel", "b/bias"}


def test_frostline_notes_raw_variable_after_loading(tmp_path: Path) -> None:
    """The note stands for the loaded model too, whose array is the initial one again."""
    loaded = saved_and_loaded(raw_scale(), tmp_path)

    assert fl.Plan().train("b/**").resolve(loaded).notes == (UNTRACKED,)
    assert fl.Plan().train("b/**").resolve(two_dense()).notes == ()


# --- the flag of a single variable ------------------------------------------------------------


def test_keras_single_frozen_variable_before_compile() -> None:
    """`layer.bias.trainable = False` is honoured by `fit` if set before compile."""
    model = two_dense()
    model.get_layer("a").bias.trainable = False

    assert moved_by_fit(compiled(model)) == {"a/kernel", "b/kernel", "b/bias"}


def test_keras_single_frozen_variable_is_lost_on_loading(tmp_path: Path) -> None:
    """The flag of a single variable is lost on save and load."""
    model = two_dense()
    model.get_layer("a").bias.trainable = False
    loaded = saved_and_loaded(model, tmp_path)

    assert loaded.get_layer("a").bias.trainable
    assert moved_by_fit(compiled(loaded)) == paths_of(model.weights)


def test_keras_single_trainable_variable_is_lost_on_loading(tmp_path: Path) -> None:
    """The flag of a single variable is lost on save and load: a trainable one in a frozen layer."""
    model = two_dense()
    model.get_layer("a").trainable = False
    model.get_layer("a").bias.trainable = True
    loaded = saved_and_loaded(model, tmp_path)

    assert not loaded.get_layer("a").bias.trainable
    assert moved_by_fit(compiled(loaded)) == {"b/kernel", "b/bias"}


@pytest.mark.parametrize("after_fit", [False, True])
def test_frostline_single_frozen_variable(after_fit: bool) -> None:
    """A plan freezes a single variable, before compile or after a fit."""
    model = two_dense()
    plan = fl.Plan(default="train").freeze("a/bias")
    if after_fit:
        compiled(model)
        keras_fit(model)
        fl.apply(model, plan)
    else:
        fl.apply(model, plan)
        compiled(model)

    require_obeys(model, plan, {"a/kernel", "b/kernel", "b/bias"})


def test_frostline_single_frozen_variable_survives_loading(tmp_path: Path) -> None:
    """A plan keeps what a flag forgets: a frozen bias in a trained layer."""
    plan = fl.Plan(default="train").freeze("a/bias")
    require_survives(two_dense(), plan, {"a/kernel", "b/kernel", "b/bias"}, tmp_path)


def test_frostline_single_trainable_variable_survives_loading(tmp_path: Path) -> None:
    """A plan keeps what a flag forgets: a trained bias in a frozen layer."""
    plan = fl.Plan().train("b/**").train("a/bias")
    require_survives(two_dense(), plan, {"a/bias", "b/kernel", "b/bias"}, tmp_path)


# --- the flag of a layer, saved ---------------------------------------------------------------


@pytest.mark.parametrize("build", [two_dense, sequential], ids=lambda one: one.__name__)
def test_keras_layer_flag_survives_loading(build: Callable[[], keras.Model], tmp_path: Path) -> None:
    """The contrast: the flag of a built-in layer of a Functional or Sequential model is kept."""
    model = build()
    model.get_layer("a").trainable = False
    loaded = saved_and_loaded(model, tmp_path)

    assert not loaded.get_layer("a").trainable
    assert paths_of(loaded.trainable_weights) == paths_of(loaded.get_layer("b").weights)


def test_keras_layer_flag_in_nested_model_survives_loading(tmp_path: Path) -> None:
    """The contrast: the flag of a layer of a Functional model inside another is kept."""
    model = nested_dropout()
    model.get_layer("backbone").get_layer("a").trainable = False
    loaded = saved_and_loaded(model, tmp_path)

    assert not loaded.get_layer("backbone").get_layer("a").trainable
    assert paths_of(loaded.trainable_weights) == {"head/kernel", "head/bias"}


def test_keras_layer_flag_in_subclassed_model_is_lost_on_loading(tmp_path: Path) -> None:
    """The flags of the layers of a subclassed model are lost on save and load."""
    model = subclassed()
    model.head.trainable = False
    loaded = saved_and_loaded(model, tmp_path)

    assert loaded.head.trainable
    assert paths_of(loaded.trainable_weights) == paths_of(loaded.weights)


@pytest.mark.parametrize("build", [two_dense, sequential], ids=lambda one: one.__name__)
def test_frostline_layer_flag_survives_loading(build: Callable[[], keras.Model], tmp_path: Path) -> None:
    """A plan survives where a flag does."""
    plan = fl.Plan(default="train").freeze("a/**")
    require_survives(build(), plan, {"b/kernel", "b/bias"}, tmp_path)


def test_frostline_layer_flag_in_nested_model_survives_loading(tmp_path: Path) -> None:
    """A plan survives where a flag does, in a nested model."""
    plan = fl.Plan(default="train").freeze("backbone/a/**")
    require_survives(nested_dropout(), plan, {"head/kernel", "head/bias"}, tmp_path)


def test_frostline_layer_flag_in_subclassed_model_survives_loading(tmp_path: Path) -> None:
    """A plan survives where a flag does not, in a subclassed model."""
    plan = fl.Plan(default="train").freeze("head/**")
    require_survives(subclassed(), plan, weights_in(subclassed(), "block"), tmp_path)


# --- flags of sublayers of custom layers ------------------------------------------------------


def test_keras_sublayer_flag_is_lost_on_loading(tmp_path: Path) -> None:
    """Flags of sublayers of custom layers are lost on save and load."""
    model = custom_block()
    model.get_layer("block").inner.trainable = False
    model.get_layer("block").outer.bias.trainable = False
    assert paths_of(model.trainable_weights) == {
        "block/outer/kernel",
        "head/kernel",
        "head/bias",
    }
    loaded = saved_and_loaded(model, tmp_path)

    assert loaded.get_layer("block").inner.trainable
    assert paths_of(loaded.trainable_weights) == paths_of(loaded.weights)


def test_keras_frozen_custom_layer_trains_after_loading(tmp_path: Path) -> None:
    """Beyond the list: a frozen custom layer is loaded as frozen, and its sublayers train."""
    model = custom_block()
    model.get_layer("block").trainable = False
    assert moved_by_fit(compiled(model)) == {"head/kernel", "head/bias"}
    loaded = saved_and_loaded(model, tmp_path)

    block = loaded.get_layer("block")
    assert not block.trainable
    assert block.trainable_weights == []
    assert moved_by_fit(compiled(loaded)) == paths_of(loaded.weights)


def test_frostline_sublayer_flag_survives_loading(tmp_path: Path) -> None:
    """A plan keeps the frozen sublayers of custom layers, and single weights in them."""
    plan = fl.Plan(default="train").freeze("block/inner/**").freeze("block/outer/bias")
    trained = {"block/outer/kernel", "head/kernel", "head/bias"}
    require_survives(custom_block(), plan, trained, tmp_path)


def test_frostline_frozen_custom_layer_survives_loading(tmp_path: Path) -> None:
    """A plan keeps a frozen custom layer frozen, all the way down."""
    plan = fl.Plan().train("head/**")
    require_survives(custom_block(), plan, {"head/kernel", "head/bias"}, tmp_path)


# --- flags inside MultiHeadAttention ----------------------------------------------------------


def test_keras_flags_inside_attention_are_lost_on_loading(tmp_path: Path) -> None:
    """Flags inside MultiHeadAttention are lost on save and load."""
    model = attention()
    mha = model.get_layer("mha")
    mha.query_dense.trainable = False
    mha.value_dense.bias.trainable = False
    trained = paths_of(model.weights) - {"mha/query/kernel", "mha/query/bias", "mha/value/bias"}
    assert paths_of(model.trainable_weights) == trained
    loaded = saved_and_loaded(model, tmp_path)

    assert loaded.get_layer("mha").query_dense.trainable
    assert paths_of(loaded.trainable_weights) == paths_of(loaded.weights)


def test_keras_frozen_attention_trains_after_loading(tmp_path: Path) -> None:
    """Beyond the list: a frozen MultiHeadAttention is loaded as frozen, and trains."""
    model = attention()
    model.get_layer("mha").trainable = False
    assert moved_by_fit(compiled(model)) == {"head/kernel", "head/bias"}
    loaded = saved_and_loaded(model, tmp_path)

    mha = loaded.get_layer("mha")
    assert not mha.trainable
    assert mha.trainable_weights == []
    assert {"mha/query/kernel", "mha/value/bias", "mha/attention_output/kernel"} <= moved_by_fit(
        compiled(loaded)
    )


def test_frostline_flags_inside_attention_survive_loading(tmp_path: Path) -> None:
    """A plan keeps frozen parts of MultiHeadAttention."""
    plan = fl.Plan(default="train").freeze("mha/query/**").freeze("mha/value/bias")
    trained = all_weights(attention()) - {"mha/query/kernel", "mha/query/bias", "mha/value/bias"}
    # The softmax of attention scores does not depend on the bias of the keys.
    require_survives(attention(), plan.freeze("mha/key/bias"), trained - {"mha/key/bias"}, tmp_path)


def test_frostline_frozen_attention_survives_loading(tmp_path: Path) -> None:
    """A plan keeps a frozen MultiHeadAttention frozen, all the way down."""
    plan = fl.Plan().train("head/**")
    require_survives(attention(), plan, {"head/kernel", "head/bias"}, tmp_path)


# --- a trainable variable in a frozen layer ---------------------------------------------------


def test_keras_trainable_bias_in_frozen_layer_trains() -> None:
    """A trainable bias in a frozen layer trains, although `layer.trainable_weights` is empty."""
    model = two_dense()
    layer = model.get_layer("a")
    layer.trainable = False
    layer.bias.trainable = True

    assert layer.trainable_weights == []
    assert moved_by_fit(compiled(model)) == {"a/bias", "b/kernel", "b/bias"}


def test_frostline_trainable_bias_in_frozen_layer() -> None:
    """A trained bias beside a frozen kernel: the layer, the model and training agree."""
    model = compiled(two_dense())
    layer = model.get_layer("a")
    plan = fl.Plan().train("b/**").train("a/bias")
    fl.apply(model, plan)

    assert layer.trainable
    assert [weight.name for weight in layer.trainable_weights] == ["bias"]
    assert [weight.name for weight in layer.non_trainable_weights] == ["kernel"]
    require_obeys(model, plan, {"a/bias", "b/kernel", "b/bias"})
