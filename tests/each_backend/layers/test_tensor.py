"""`TrainableTensor`: training equal to a layer written by hand, its uses, misuse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from frostline.errors import LayerError
from frostline.layers import TrainableTensor
from helpers.layer_checks import (
    SAMPLES,
    array,
    assert_same_training,
    every_optimizer,
    full_text,
    numbers,
    train_beside_twin,
)


class ByHand(keras.layers.Layer):
    """A tensor and a bias made in `build`, added, and repeated by broadcasting."""

    def build(self, input_shape: Any) -> None:
        self.tensor = self.add_weight(shape=(2, 3), name="tensor")
        self.shift = self.add_weight(shape=(2, 3), name="shift")

    def call(self, inputs: Any) -> Any:
        zeros = ops.expand_dims(ops.zeros_like(inputs[:, :1]), -1)
        return ops.tanh(self.tensor + self.shift) + zeros


@every_optimizer
def test_it_trains_as_a_layer_written_by_hand(optimizer: str) -> None:
    ours, twin = TrainableTensor((2, 3), use_bias=True, activation="tanh"), ByHand()
    found = train_beside_twin(
        numbers(SAMPLES, 4),
        ours,
        twin,
        lambda: [(ours.tensor, twin.tensor), (ours.bias, twin.shift)],
        optimizer,
    )
    assert_same_training(found)


def test_a_class_token_positions_and_a_temperature_in_one_model() -> None:
    patches = keras.Input((5, 8))
    tokens = keras.layers.Concatenate(axis=1)([TrainableTensor((1, 8), name="token")(patches), patches])
    placed = keras.layers.Add()([tokens, TrainableTensor((6, 8), name="positions")(tokens)])
    warm = TrainableTensor((1,), "zeros", activation="softplus", name="temperature")(patches)
    scores = keras.layers.Dense(3, name="head")(placed[:, 0])
    model = keras.Model(patches, keras.layers.Multiply()([scores, warm]))
    assert model.output_shape == (None, 3)
    model.compile("adam", "mse")
    before = [array(v) for v in model.trainable_variables]
    model.fit(numbers(8, 5, 8), numbers(8, 3), verbose=0)
    assert all(np.any(array(v) != b) for v, b in zip(model.trainable_variables, before, strict=True))


def test_without_an_input_it_gives_the_tensor_itself() -> None:
    layer = TrainableTensor((2, 3), "ones")
    assert array(layer()).tolist() == [[1.0] * 3] * 2
    assert layer.compute_output_shape() == (2, 3)


def test_the_batch_is_that_of_the_first_of_nested_inputs() -> None:
    layer = TrainableTensor((2,))
    assert layer({"a": numbers(4, 1), "b": numbers(4, 3, 3)}).shape == (4, 2)
    assert layer.compute_output_shape({"a": (None, 1), "b": (4, 3)}) == (None, 2)
    assert layer.compute_output_shape([(7, 1), (4, 3)]) == (7, 2)


def test_defaults_of_the_initializer() -> None:
    assert TrainableTensor((2,)).initializer.get_config()["stddev"] == 0.02
    assert isinstance(TrainableTensor((2,), activation="relu").initializer, keras.initializers.HeNormal)
    assert isinstance(TrainableTensor((), "ones").initializer, keras.initializers.Ones)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (
            5,
            "the shape of a trainable tensor must be a tuple of sizes.\n"
            "  received: 5\n"
            "  expected: such as (1, 64), or () for a number",
        ),
        (
            (2, None),
            "each size of the shape must be a whole number.\n  received: None\n  expected: 1 or more",
        ),
    ],
)
def test_misuse(shape: Any, text: str) -> None:
    with pytest.raises(LayerError) as caught:
        TrainableTensor(shape)
    assert full_text(caught.value) == text
