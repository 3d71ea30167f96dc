"""`FrozenStatistics`: the bits of `BatchNormalization` in inference, training, taking its place, misuse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.errors import LayerError
from frostline.layers import FrozenStatistics
from helpers.checks import changed, values
from helpers.layer_checks import (
    BACKEND,
    SAMPLES,
    array,
    assert_same_training,
    every_optimizer,
    full_text,
    numbers,
    train_beside_twin,
)


def filled(layer: Any, size: int) -> Any:
    """A BatchNormalization with numbers in it."""
    for seed, variable in enumerate(layer.weights):
        variable.assign(np.abs(numbers(size, seed=seed)) + 0.1)
    return layer


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 3), -1), ((2, 4, 3), 2), ((2, 3, 4, 4), 1), ((2, 4, 4, 3), -1)]
)
@pytest.mark.parametrize("affine", [True, False])
def test_the_bits_are_those_of_inference_mode(
    shape: tuple[int, ...], axis: int, dtype: str, affine: bool
) -> None:
    norm = keras.layers.BatchNormalization(axis=axis, epsilon=0.01, center=affine, scale=affine, dtype=dtype)
    norm.build((None, *shape[1:]))
    filled(norm, 3)
    frozen = FrozenStatistics.from_layer(norm)
    x = numbers(*shape)
    assert array(frozen(x)).tobytes() == array(norm(x, training=False)).tobytes()
    assert frozen.trainable_variables == []
    assert frozen.name == norm.name


@every_optimizer
def test_the_affine_part_trains_as_written_by_hand(optimizer: str) -> None:
    mean, variance = numbers(3), numbers(3, seed=2) ** 2
    ours = FrozenStatistics(mean, variance, np.ones(3), np.zeros(3), train_affine=True)

    class ByHand(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.gamma = self.add_weight(shape=(3,), name="gamma")
            self.beta = self.add_weight(shape=(3,), name="beta")

        def call(self, inputs: Any) -> Any:
            normalized = (inputs - ops.convert_to_tensor(mean)) / ops.sqrt(variance + np.float32(1e-3))
            return normalized * self.gamma + self.beta

    twin = ByHand()
    found = train_beside_twin(
        numbers(SAMPLES, 3), ours, twin, lambda: [(ours.gamma, twin.gamma), (ours.beta, twin.beta)], optimizer
    )
    assert_same_training(found)


@every_optimizer
def test_what_lies_before_it_trains_as_before_a_fixed_affine_map(optimizer: str) -> None:
    mean, variance = numbers(3), numbers(3, seed=2) ** 2
    gamma, beta = numbers(3, seed=3), numbers(3, seed=4)
    frozen = FrozenStatistics(mean, variance, gamma, beta)
    first, twin = keras.layers.Dense(3), keras.layers.Dense(3)
    scale = ops.convert_to_tensor(gamma / np.sqrt(variance + np.float32(1e-3)))
    found = train_beside_twin(
        numbers(SAMPLES, 4),
        lambda x: frozen(first(x)),
        lambda x: twin(x) * scale + (ops.convert_to_tensor(beta) - ops.convert_to_tensor(mean) * scale),
        lambda: zip(first.weights, twin.weights, strict=True),
        optimizer,
    )
    assert_same_training(found)


def test_every_normalization_of_a_model_can_be_replaced() -> None:
    """In a copy of the model, which then does not move its statistics, in training mode or unfrozen."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    hidden = keras.layers.BatchNormalization(name="norm")(
        keras.layers.Dense(3, name="a")(inputs), training=False
    )
    model = keras.Model(inputs, keras.layers.Dense(2, name="b")(hidden))
    filled(model.get_layer("norm"), 3)

    def replaced(layer: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return FrozenStatistics.from_layer(layer)
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=replaced)
    copy.set_weights(model.get_weights())
    x, y = numbers(8, 4), numbers(8, 2)
    assert array(copy(x, training=True)).tobytes() == array(model(x, training=False)).tobytes()

    copy.compile("adam", "mse", run_eagerly=BACKEND == "tensorflow")
    before = values(copy)
    copy.fit(x, y, epochs=2, verbose=0)
    assert changed(copy, before) == {"a/kernel", "a/bias", "b/kernel", "b/bias"}


def test_a_plan_that_trains_everything_holds_its_statistics() -> None:
    """Where a BatchNormalization layer would go on counting."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            FrozenStatistics(
                numbers(3), numbers(3) ** 2, np.ones(3), np.zeros(3), train_affine=True, name="norm"
            ),
            keras.layers.Dense(2, name="head"),
        ]
    )
    resolution = fl.Plan().train("**").resolve(model)
    assert {d.weight.address: d.status for d in (*resolution.decisions, *resolution.statistics)} == {
        "norm/gamma": "trains",
        "norm/beta": "trains",
        "norm/mean": "held",
        "norm/variance": "held",
        "head/kernel": "trains",
        "head/bias": "trains",
    }


MISUSE: dict[str, tuple[Any, str]] = {
    "another kind of layer": (
        lambda: FrozenStatistics.from_layer(keras.layers.Dense(2)),
        "frozen statistics are made from a BatchNormalization layer.\n  received: an object of type Dense",
    ),
    "not built": (
        lambda: FrozenStatistics.from_layer(keras.layers.BatchNormalization(name="bn")),
        "the layer 'bn' is not built, so it has no statistics yet.\n"
        "  fix:      build it, or load the model's weights first",
    ),
    "shapes that differ": (
        lambda: FrozenStatistics([0.0, 1.0], [1.0, 1.0, 1.0]),
        "the statistics do not fit together.\n"
        "  received: mean (2,), variance (3,)\n"
        "  expected: arrays of one shape (size,)",
    ),
    "a variance below zero": (
        lambda: FrozenStatistics([0.0, 1.0], [1.0, -1.0]),
        "a variance cannot be below zero.\n  received: -1.0 among the variances",
    ),
    "one of two": (
        lambda: FrozenStatistics(None, [1.0]),
        "mean and variance come together, or both with the weights file.\n  received: one of them",
    ),
    "another input": (
        lambda: FrozenStatistics([0.0, 1.0], [1.0, 1.0], name="n").build((None, 3)),
        "the statistics of the layer 'n' do not fit its input.\n"
        "  received: an input of shape (None, 3): 3 features along axis -1\n"
        "  expected: 2 features",
    ),
    "no such axis": (
        lambda: FrozenStatistics([0.0], [1.0], axis=3, name="n").build((None, 1)),
        "the layer 'n' has no axis 3.\n  received: an input of shape (None, 1)",
    ),
}


@pytest.mark.parametrize("make", [m for m, _ in MISUSE.values()], ids=MISUSE)
def test_misuse(make: Any, request: pytest.FixtureRequest) -> None:
    with pytest.raises(LayerError) as caught:
        make()
    assert full_text(caught.value) == MISUSE[request.node.callspec.id][1]


def test_a_scale_without_a_shift() -> None:
    layer = FrozenStatistics([1.0], [3.0], gamma=[2.0], epsilon=1.0)
    assert array(layer(np.array([[5.0]], "float32"))).tolist() == [[4.0]]
    assert (layer.scale, layer.center, layer.beta) == (True, False, None)
    assert ops.shape(layer.gamma) == (1,)
