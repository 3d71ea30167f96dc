"""`fl.recommended_initializer`: what papers say, and that the numbers behind it are right."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline import initializers
from frostline.errors import LayerError
from helpers.layer_checks import array, full_text

PUBLISHED = {
    None: ("glorot_uniform", "Glorot"),
    "linear": ("glorot_uniform", "Glorot"),
    "tanh": ("glorot_uniform", "Glorot"),
    "sigmoid": ("glorot_uniform", "Glorot"),
    "softmax": ("glorot_uniform", "Glorot"),
    "relu": ("he_normal", "He, Zhang"),
    "selu": ("lecun_normal", "Klambauer"),
    "gelu": ("he_normal", "He, Zhang"),
    "elu": ("variance_scaling", "He, Zhang"),
    "exponential": ("glorot_uniform", "Glorot"),
}


@pytest.mark.parametrize("activation", PUBLISHED, ids=str)
def test_what_papers_recommend(activation: str | None) -> None:
    name, source = PUBLISHED[activation]
    advice = fl.recommended_initializer(activation)
    assert (advice.name, advice.source.startswith(source)) == (name, True)
    made = advice.make(seed=3)
    assert isinstance(made, keras.initializers.Initializer)
    assert array(made((5, 4))).tobytes() == array(advice.make(seed=3)((5, 4))).tobytes()


@pytest.mark.parametrize("name", sorted(initializers._SCALES))
def test_the_scales_are_those_of_the_functions(name: str) -> None:
    scale, stable = initializers.find_scale(keras.activations.get(name), name)
    assert scale == pytest.approx(initializers._SCALES[name], rel=1e-3)
    assert stable == (name not in initializers._SHRINKING)


def test_every_activation_of_keras_is_known() -> None:
    other = {"deserialize", "get", "serialize", "threshold"}
    names = {name for name in dir(keras.activations) if not name.startswith("_")} - other
    for name in names:
        advice = fl.recommended_initializer(name)
        assert fl.recommended_initializer(keras.activations.get(name)).activation == advice.activation


KEPT = ("relu", "leaky_relu", "elu", "selu", "softplus", "squareplus")
SHRINKING = ("gelu", "silu", "mish", "tanh")
"""Where no initializer is stable at every size: they shrink rather than grow."""


@pytest.mark.parametrize("activation", [*KEPT, *SHRINKING])
def test_values_neither_vanish_nor_explode_in_twenty_layers(activation: str) -> None:
    width, function = 256, keras.activations.get(activation)
    value = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(64, width)).astype("float32"))
    sizes = []
    for layer in range(20):
        kernel = fl.recommended_initializer(activation).make(seed=layer)((width, width))
        value = ops.matmul(value, kernel)
        sizes.append(float(ops.mean(ops.square(value))))
        value = function(value)
    assert sizes[-1] / sizes[0] < 2.5
    assert sizes[-1] / sizes[0] > 0.4 or activation in SHRINKING


def test_a_function_of_ones_own_gets_the_variance_that_suits_it() -> None:
    advice = fl.recommended_initializer(lambda x: ops.maximum(x, 0) * 3)
    assert advice.scale == pytest.approx(2 / 9, rel=1e-5)
    assert fl.recommended_initializer(keras.layers.LeakyReLU(0.5)).scale == pytest.approx(2 / 1.25, rel=1e-5)


def test_a_namesake_is_not_taken_for_kerass_own() -> None:
    def relu(x: Any) -> Any:
        return x * 2

    assert fl.recommended_initializer(relu).scale == pytest.approx(0.25, rel=1e-5)


MISUSE: dict[str, tuple[Any, str]] = {
    "unknown": (
        "sigmod",
        "there is no activation 'sigmod'.\n"
        "  expected: the name of a Keras activation, a function, or None\n"
        "  fix:      did you mean sigmoid, log_sigmoid, hard_sigmoid?",
    ),
    "a number": (
        3,
        "this is not an activation.\n"
        "  received: an object of type int\n"
        "  expected: the name of a Keras activation, a function, or None",
    ),
    "nothing but zero": (
        lambda x: x * 0,
        "no initializer follows from the activation '<lambda>'.\n"
        "  received: a mean square of 0 for standard normal inputs\n"
        "  expected: a function of each element of a tensor on its own, finite, and not zero throughout\n"
        "  fix:      name the initializer: kernel_initializer='glorot_uniform'",
    ),
    "no function of elements": (
        lambda x: ops.sum(x),
        "no initializer follows from the activation '<lambda>'.\n"
        "  received: a result of shape () for an input of shape (24001,)\n"
        "  expected: a function of each element of a tensor on its own, finite, and not zero throughout\n"
        "  fix:      name the initializer: kernel_initializer='glorot_uniform'",
    ),
    "a function that grows too fast": (
        lambda x: ops.square(x),
        "no initializer follows from the activation '<lambda>'.\n"
        "  received: a mean square that grows faster than that of its input, whatever the weights\n"
        "  expected: a function of each element of a tensor on its own, finite, and not zero throughout\n"
        "  fix:      name the initializer: kernel_initializer='glorot_uniform'",
    ),
    "a function that fails": (
        lambda x: math.nope(x),
        "no initializer follows from the activation '<lambda>'.\n"
        "  received: it raised AttributeError: module 'math' has no attribute 'nope'\n"
        "  expected: a function of each element of a tensor on its own, finite, and not zero throughout\n"
        "  fix:      name the initializer: kernel_initializer='glorot_uniform'",
    ),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name: str) -> None:
    activation, expected = MISUSE[name]
    with pytest.raises(LayerError) as caught:
        fl.recommended_initializer(activation)
    assert full_text(caught.value) == expected
