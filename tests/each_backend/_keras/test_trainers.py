"""Private names of Keras where models are trained, saved and made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from frostline._keras.files import config_of, in_safe_mode, made_of_config, saved_compiled_as
from frostline._keras.layers import sublayers
from frostline._keras.trainers import (
    compile_arguments,
    epochs_gone_by,
    finish_averages,
    own_buffers,
    reader_of_steps,
    renew_functions,
    steps_watched,
    sync_values,
    training_done,
    values_kept,
)
from helpers import small_models
from helpers.checks import names
from helpers.shuffles import SAMPLES, orders
from helpers.small_models import compiled, fit, value_of

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()


# Training -----------------------------------------------------------------------------------------


def test_functions_are_renewed() -> None:
    model = small_models.fitted(small_models.two_dense())
    x, _ = small_models.data_for(model)
    model.predict(x, verbose=0)
    trained, predicted = model.train_function, model.predict_function
    renew_functions(model)
    assert model.train_function is not None
    assert model.train_function is not trained
    assert predicted is not None
    assert model.predict_function is not predicted
    fit(model)


def test_arrays_are_shuffled_as_if_epochs_had_gone_by() -> None:
    whole = orders(renewed=True)
    assert all(sorted(one) == list(range(SAMPLES)) for one in whole)
    with epochs_gone_by(2):
        assert orders(2, renewed=True) == whole[2:]
    with epochs_gone_by(1):
        assert orders(1, renewed=True) == whole[1:]
    assert orders(renewed=True) == whole


def test_steps_are_watched_and_the_function_is_plain_again() -> None:
    model = compiled(small_models.two_dense())
    kernel, seen = model.get_layer("b").kernel, []

    def begin() -> Any:
        read = reader_of_steps(model, [kernel])
        return lambda result: seen.append(np.array(keras.ops.convert_to_numpy(read(result)[0])))

    with steps_watched(model, begin):
        fit(model)
    assert not hasattr(model.train_function, "frostline_unwatched")
    assert np.array_equal(seen[-1], keras.ops.convert_to_numpy(kernel))


def test_functions_that_never_were_are_not_made() -> None:
    model = compiled(small_models.two_dense())
    renew_functions(model)
    assert model.train_function is None
    renew_functions(keras.layers.Dense(2))


@pytest.mark.skipif(
    not hasattr(keras.Model, "_warn_if_trainable_state_changed"), reason="Keras has it from 3.15 on"
)
def test_changed_flags_give_no_warning_after_renewal() -> None:
    # Keras 3.15.1 has the warning and never gets to it.
    model = compiled(small_models.two_dense())
    model.get_layer("a").trainable = False
    with pytest.warns(UserWarning, match="`trainable` state has changed"):
        model._warn_if_trainable_state_changed()
    model.get_layer("a").trainable = True
    renew_functions(model)
    model._warn_if_trainable_state_changed()


class Reading(keras.callbacks.Callback):
    """Reads the kernel of a layer after every batch.

    Not by `self.model`, which settles the values by itself.
    """

    def __init__(self, held: keras.Model) -> None:
        super().__init__()
        self.held = held
        self.seen: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        sync_values(self.held)
        self.seen.append(value_of(self.held.get_layer("a").kernel))


def test_values_are_settled_inside_a_fit() -> None:
    model = compiled(small_models.two_dense())
    reading = Reading(model)
    first = value_of(model.get_layer("a").kernel)
    fit(model, callbacks=[reading])
    before_last, last = reading.seen
    assert not np.array_equal(first, before_last)
    assert not np.array_equal(before_last, last)
    np.testing.assert_array_equal(last, value_of(model.get_layer("a").kernel))
    sync_values(keras.layers.Dense(2))


def test_values_outlive_a_fit_that_fails() -> None:
    # Keras calls the loss once before the training step, but for TensorFlow.
    calls: list[int] = []
    before_training = 0 if BACKEND == "tensorflow" else 1

    def failing_loss(y: Any, predicted: Any) -> Any:
        calls.append(1)
        if len(calls) > before_training:
            raise RuntimeError("no loss")
        return small_models.squared_error(y, predicted)

    model = compiled(small_models.two_dense(), loss=failing_loss)
    before = {w.path: value_of(w) for w in model.weights}
    with pytest.raises(RuntimeError, match="no loss"), values_kept(model):
        fit(model)
    assert len(calls) == before_training + 1
    for weight in model.weights:
        np.testing.assert_array_equal(value_of(weight), before[weight.path])


def test_no_two_variables_share_a_buffer() -> None:
    model = compiled(small_models.two_dense(), keras.optimizers.SGD(0.1, use_ema=True))
    fit(model)
    own_buffers(model)
    values = [v.value for v in (*model.variables, *model.optimizer.variables)]
    assert len({id(value) for value in values}) == len(values)
    fit(model)


def test_averages_are_finished_as_fit_does() -> None:
    model = compiled(small_models.two_dense(), keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    x, y = small_models.data_for(model)
    for _ in range(2):
        model.train_on_batch(x, y)
    kernel = model.get_layer("a").kernel
    averages = [
        value_of(v) for v in model.optimizer.variables if "average" in v.name and v.shape == kernel.shape
    ]
    assert not np.array_equal(value_of(kernel), averages[0])
    finish_averages(model)
    np.testing.assert_array_equal(value_of(kernel), averages[0])
    model.train_on_batch(x, y)
    plain = compiled(small_models.two_dense())
    finish_averages(plain)
    assert not plain.optimizer.built


def test_training_done_names_the_function_and_its_steps() -> None:
    model = compiled(small_models.sequential())
    assert training_done(model) is None
    fit(model)
    function, steps = training_done(model) or (None, 0)
    assert function is model.train_function and steps > 0
    fit(model)
    assert training_done(model) == (function, 2 * steps)


# Saving -------------------------------------------------------------------------------------------


def test_safe_mode_refuses_python_code() -> None:
    with pytest.warns(UserWarning, match="lambda"):
        function = keras.saving.serialize_keras_object(lambda x: x)
    with in_safe_mode(True), pytest.raises(ValueError, match="safe"):
        keras.saving.deserialize_keras_object(function)
    with in_safe_mode(False):
        assert keras.saving.deserialize_keras_object(function)(3) == 3


def test_a_model_is_saved_uncompiled_and_stays_compiled(tmp_path: Path) -> None:
    model = compiled(small_models.two_dense(), keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    fit(model)
    with saved_compiled_as(model, {}):
        model.save(tmp_path / "model.keras")
    assert not keras.models.load_model(tmp_path / "model.keras").compiled
    with saved_compiled_as(model, {**model.get_compile_config(), "loss": "mae"}):
        model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.loss, int(loaded.optimizer.iterations)) == ("mae", 2)
    held = [vars(one) for one in (model, model.optimizer, model.optimizer.inner_optimizer)]
    assert all({"get_compile_config", "save_own_variables"}.isdisjoint(one) for one in held)
    assert model.get_compile_config()["loss"] == "mse"


class Scaled(keras.layers.Layer):
    """Not registered with Keras."""

    def call(self, inputs: Any) -> Any:
        return 2 * inputs


def test_a_configuration_makes_the_model_again_without_compile() -> None:
    dense = keras.layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    doubled = keras.layers.Lambda(lambda x: x + 1, name="plus")(Scaled(name="scaled")(dense(dense(inputs))))
    model = compiled(keras.Model(inputs, doubled, name="net"))
    config = config_of(model)
    assert "compile_config" not in str(config)
    made = made_of_config(config, {"Scaled": Scaled})
    assert not made.compiled
    assert names(sublayers(made)) == names(sublayers(model))
    made.set_weights(model.get_weights())
    x = np.ones((2, 4), "float32")
    assert np.array_equal(made.predict(x, verbose=0), model.predict(x, verbose=0))


def test_what_a_model_was_compiled_with_is_known() -> None:
    model = small_models.two_dense()
    model.compile("sgd", "mae", loss_weights=[0.5])
    assert compile_arguments(model)["loss"] == "mae"
    assert compile_arguments(model)["loss_weights"] == [0.5]
    assert compile_arguments(small_models.two_dense()) == {}
