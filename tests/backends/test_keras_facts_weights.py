"""What Keras itself does with single weights: tracking, their flags, statistics, saving, paths.

Measured, not wished for: a failure here means that Keras has changed. All of it is the same on the
three backends. Frostline's counterpart of a fact stands right below its Keras test.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from backends.small_models import (
    attention,
    batch_norm,
    compiled,
    custom_block,
    data_for,
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


# --- the flag of a layer, saved ---------------------------------------------------------------


@pytest.mark.parametrize("build", [two_dense, sequential], ids=lambda one: one.__name__)
def test_keras_layer_flag_survives_loading(
    build: Callable[[], keras.Model], tmp_path: Path
) -> None:
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


# --- a trainable variable in a frozen layer ---------------------------------------------------


def test_keras_trainable_bias_in_frozen_layer_trains() -> None:
    """A trainable bias in a frozen layer trains, although `layer.trainable_weights` is empty."""
    model = two_dense()
    layer = model.get_layer("a")
    layer.trainable = False
    layer.bias.trainable = True

    assert layer.trainable_weights == []
    assert moved_by_fit(compiled(model)) == {"a/bias", "b/kernel", "b/bias"}


# --- batch normalization ----------------------------------------------------------------------


def test_keras_frozen_gamma_and_beta_leave_statistics_moving() -> None:
    """Freezing BatchNormalization's gamma and beta leaves its moving statistics moving."""
    model = batch_norm()
    model.get_layer("bn").gamma.trainable = False
    model.get_layer("bn").beta.trainable = False

    assert {path for path in moved_by_fit(compiled(model)) if path.startswith("bn/")} == {
        "bn/moving_mean",
        "bn/moving_variance",
    }


def test_keras_only_layer_flag_puts_batch_norm_in_inference() -> None:
    """Only the layer's flag puts BatchNormalization in inference mode."""
    model = batch_norm()
    layer = model.get_layer("bn")
    x, _ = data_for(model)

    def differs_in_training() -> bool:
        inference, training = (
            keras.ops.convert_to_numpy(model(x, training=mode)) for mode in (False, True)
        )
        return not np.allclose(inference, training)

    layer.gamma.trainable = layer.beta.trainable = False
    assert differs_in_training()

    layer.trainable = False
    assert not differs_in_training()
    assert not {path for path in moved_by_fit(compiled(model)) if path.startswith("bn/")}


# --- dropout ----------------------------------------------------------------------------------


def test_keras_dropout_in_frozen_model_stays_active() -> None:
    """Dropout in a frozen model stays active under `training=True`."""
    model = nested_dropout()
    backbone = model.get_layer("backbone")
    backbone.trainable = False
    x, _ = data_for(model)

    dropped = keras.ops.convert_to_numpy(backbone(x, training=True))
    kept = keras.ops.convert_to_numpy(backbone(x, training=False))
    assert 0 < (dropped == 0).mean() < 1
    assert (kept != 0).all()


# --- regularization ---------------------------------------------------------------------------


def test_keras_frozen_layer_has_no_regularization_loss() -> None:
    """A frozen layer's regularization loss disappears."""
    model = compiled(two_dense(regularizer="l2"))
    x, y = data_for(model)
    assert len(model.losses) == 1
    with_penalty = model.evaluate(x, y, verbose=0)

    model.get_layer("a").trainable = False
    assert model.losses == []
    compiled(model)
    assert model.evaluate(x, y, verbose=0) < with_penalty - 1e-3


# --- paths ------------------------------------------------------------------------------------

EXPECTED_FIRST_PATH = {
    "sequential": "sequential/a/kernel",
    "subclassed": "subclassed/block/inner/kernel",
    "two_dense": "a/kernel",
    "nested_dropout": "a/kernel",
}


@pytest.mark.parametrize(
    "build", [sequential, subclassed, two_dense, nested_dropout], ids=lambda one: one.__name__
)
def test_keras_path_starts_with_name_of_root(build: Callable[[], keras.Model]) -> None:
    """`Variable.path` starts with the root model's name, so `a/.*` never matches.

    Not so in a Functional model, whose paths have neither its name nor that of a nested model.
    """
    assert build().weights[0].path == EXPECTED_FIRST_PATH[build.__name__]


def test_keras_paths_are_not_unique() -> None:
    """Beyond the list: two nested Functional models with equal layer names share their paths."""
    inputs = keras.Input((4,), name="x")
    twins = []
    for name in ("left", "right"):
        inner = keras.Input((4,))
        twins.append(keras.Model(inner, keras.layers.Dense(3, name="a")(inner), name=name))
    model = keras.Model(inputs, twins[0](inputs) + twins[1](inputs), name="twins")

    assert [weight.path for weight in model.weights] == ["a/kernel", "a/bias"] * 2
