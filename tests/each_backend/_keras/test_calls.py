"""Private names of Keras where layers, models and losses are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.backend import compute_output_spec
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from frostline._keras.calls import (
    call_apart,
    call_for_inference,
    call_for_training,
    compute_loss,
    computing_in,
    entry_layer,
    float64_kept,
    has_compiled_loss,
    has_own_loss,
    loss_settings,
    loss_weights,
    losses_left_unbuilt,
    losses_of,
    mask_of,
    outputs_known,
    uncast,
    user_loss,
    with_mask,
)
from helpers import small_models
from helpers.small_models import compiled

pytestmark = pytest.mark.every_backend

# Layers inside layers -----------------------------------------------------------------------------


class Watching(keras.layers.Layer):
    """Notes what is known while it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = SimpleNamespace()

    def call(self, inputs: Any, training: Any = None) -> Any:
        self.seen.entry, self.seen.training = entry_layer(), training
        return inputs


def test_the_outermost_layer_is_known_while_it_is_called() -> None:
    watching = Watching()
    inputs = keras.Input((2,))
    model = keras.Model(inputs, watching(inputs))
    model(np.ones((1, 2), "float32"))
    assert watching.seen.entry is model
    assert entry_layer() is None


class Calling(keras.layers.Layer):
    """Calls one layer with `training=False` and another without."""

    def __init__(self, keeps: bool) -> None:
        super().__init__()
        self.keeps = keeps
        self.first, self.second = Watching(), Watching()

    def call(self, inputs: Any, training: Any = None) -> Any:
        if not self.keeps:
            return self.second(self.first(inputs, training=False))
        return self.second(call_apart(self.first, inputs, training=False))


@pytest.mark.parametrize(("keeps", "expected"), [(True, True), (False, False)])
def test_a_training_argument_stays_inside(keeps: bool, expected: bool) -> None:
    layer = Calling(keeps)
    layer(np.ones((1, 2), "float32"), training=True)
    assert (layer.first.seen.training, layer.second.seen.training) == (False, expected)


def test_a_training_argument_outside_of_any_call_is_no_matter() -> None:
    assert call_apart(entry_layer) is None


def test_a_mask_travels_with_a_tensor() -> None:
    mask = np.array([True, False])
    tensor = with_mask(keras.ops.ones((2,)), mask)
    assert tensor._keras_mask is mask


def test_mask_of_is_what_with_mask_gave() -> None:
    tensor, mask = keras.ops.ones((2, 3)), keras.ops.ones((2,), "bool")
    assert mask_of(tensor) is None
    assert mask_of(with_mask(tensor, mask)) is mask


# Dtypes -------------------------------------------------------------------------------------------


def test_variables_are_read_in_their_own_dtype() -> None:
    seen = []

    class Looks(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(2,), name="scale")

        def call(self, inputs: Any) -> Any:
            seen.append(keras.backend.standardize_dtype(self.scale.value.dtype))
            with uncast():
                seen.append(keras.backend.standardize_dtype(self.scale.value.dtype))
            return inputs

    Looks(dtype="mixed_bfloat16")(np.ones((1, 2)))
    assert seen[-2:] == ["bfloat16", "float32"]


def test_computing_in_changes_the_dtype_of_outputs_for_a_while() -> None:
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    ones = np.ones((1, 3), "float32")
    with computing_in(layer, "float16"):
        assert keras.backend.standardize_dtype(layer(ones).dtype) == "float16"
    assert keras.backend.standardize_dtype(layer(ones).dtype) == "float32"
    assert layer.kernel.dtype == "float32"


def test_float64_kept_lets_two_dtypes_meet_in_float64() -> None:
    narrowed = keras.backend.result_type("float64", "float32")
    with float64_kept():
        assert keras.backend.result_type("float64", "float32") == "float64"
    assert keras.backend.result_type("float64", "float32") == narrowed


# Models and losses --------------------------------------------------------------------------------


def test_call_for_training_and_compute_loss_are_what_fit_minimizes() -> None:
    model = compiled(two_dense_with_penalty(), keras.optimizers.SGD(0.0))
    x, y = small_models.data_for(model)
    predicted = call_for_training(model, x)
    loss = compute_loss(model, x, y, predicted, None)
    logs = model.train_on_batch(x, y, return_dict=True)
    assert keras.ops.convert_to_numpy(loss) == pytest.approx(float(logs["loss"]), rel=1e-5)


@pytest.mark.parametrize("weights", [None, [2.0]])
def test_loss_weights_are_those_of_compile(weights: Any) -> None:
    model = small_models.two_dense()
    assert loss_weights(model) is None
    model.compile("sgd", "mse", loss_weights=weights)
    assert loss_weights(model) == weights


def test_call_for_inference_is_what_predict_gives() -> None:
    model = small_models.nested_dropout()
    x, _ = small_models.data_for(model)
    called = keras.ops.convert_to_numpy(call_for_inference(model, x))
    np.testing.assert_allclose(called, model.predict(x, verbose=0), rtol=1e-5)


def two_dense_with_penalty() -> keras.Model:
    return small_models.two_dense(regularizer="l2")


def test_losses_of_finds_the_losses_that_compile_was_given() -> None:
    model, given = small_models.two_dense(), keras.losses.MeanSquaredError()
    assert losses_of(model) == []
    model.compile("sgd", given)
    assert any(one is given for one in losses_of(model))
    with computing_in(given, "float16"):
        assert keras.backend.standardize_dtype(given(np.ones(2), np.ones(2)).dtype) == "float16"
    assert keras.backend.standardize_dtype(given(np.ones(2), np.ones(2)).dtype) == "float32"


def test_losses_left_unbuilt_builds_a_copy() -> None:
    model = compiled(small_models.two_dense())
    x, y = small_models.data_for(model)
    with losses_left_unbuilt(model):
        compute_loss(model, x, y, model(x), None)
        assert model._compile_loss.built
    assert not model._compile_loss.built


def test_outputs_are_known_where_the_graph_has_them() -> None:
    """Keras is spared the symbolic call; what it builds from that is the same."""

    class Counted(keras.layers.Layer):  # type: ignore[misc]
        symbolic, real = 0, 0

        def call(self, inputs: Any) -> Any:
            if in_symbolic_scope():
                self.symbolic += 1
            else:
                self.real += 1
            return inputs

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inputs = keras.Input((3,))
    hidden = Counted(name="counted")(inputs)
    outputs = {"a": keras.layers.Dense(2)(hidden), "b": keras.layers.Dense(1, dtype="float16")(hidden)}
    functional = keras.Model(inputs, outputs)
    sequential = keras.Sequential([keras.Input((3,)), Counted(name="counted"), keras.layers.Dense(2)])
    alone = keras.Model(inputs, [keras.layers.Dense(2)(hidden)])
    for model in (functional, sequential, alone):
        counted = model.get_layer("counted")
        counted.symbolic = counted.real = 0
        with outputs_known(model):
            spec = compute_output_spec(model, keras.KerasTensor((5, 3)))
            assert counted.symbolic == 0
            found = model(np.ones((4, 3), "float32"))
            assert counted.real == 1
        plain = compute_output_spec(model, keras.KerasTensor((5, 3)))
        assert counted.symbolic > 0
        assert "call" not in vars(model)
        keras.tree.assert_same_structure(spec, plain)
        told, held, real = (
            [(tuple(one.shape), keras.backend.standardize_dtype(one.dtype)) for one in keras.tree.flatten(of)]
            for of in (spec, plain, found)
        )
        assert told == held
        assert [((5, *shape[1:]), dtype) for shape, dtype in real] == told


def test_outputs_of_own_calls_and_of_open_lengths_are_asked_for() -> None:
    class Own(keras.Sequential):  # type: ignore[misc]
        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return super().call(inputs, training=training, mask=mask)

    open_length = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)])
    for model in (Own([keras.Input((3,)), keras.layers.Dense(2)]), open_length, small_models.subclassed()):
        with outputs_known(model):
            assert "call" not in vars(model)


def test_what_a_loss_object_hands_to_its_function() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, axis=1)
    assert loss_settings(loss) == {"from_logits": True, "ignore_class": None, "axis": 1}
    assert loss_settings("mse") == {}


def test_which_loss_a_model_has() -> None:
    class Own(keras.Model):
        def compute_loss(self, *arguments: Any, **options: Any) -> Any:
            return 0.0

    plain = small_models.two_dense()
    assert (user_loss(plain), has_compiled_loss(plain), has_own_loss(plain)) == (None, False, False)
    assert (has_compiled_loss(Own()), has_own_loss(Own())) == (False, True)
    plain.compile("sgd")
    assert (user_loss(plain), has_own_loss(plain)) == (None, False)
    plain.compile("sgd", {"b": "mse"})
    assert (user_loss(plain), has_compiled_loss(plain), has_own_loss(plain)) == ({"b": "mse"}, True, True)
