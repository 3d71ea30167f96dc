"""Private names of Keras's variables and seeds, and of layers whose weights are made of parts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from frostline._keras.layers import own_statistics, own_weights, renew_parameters, whole_weight, whole_weights
from frostline._keras.randomness import global_seed_state, make_global_seed_state, random_seed
from frostline._keras.variables import (
    dtype_of,
    has_parts,
    has_value,
    held_tensor,
    hold,
    let_go,
    owns,
    read_value,
    rename_beside,
    same_storage,
    to_numpy,
    track_parts,
    track_whole,
    tracked_whole,
)
from helpers.small_models import value_of, variable

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()


# Values and seeds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "bool"])
def test_glimpse_is_what_keras_converts_to(dtype: str) -> None:
    held = keras.Variable(np.array([0, 1, 2]), dtype=dtype, trainable=False)
    seen, expected = read_value(held), keras.ops.convert_to_numpy(held)
    assert seen.dtype == expected.dtype
    assert seen.tobytes() == expected.tobytes()


def test_glimpse_copies_nothing() -> None:
    held = keras.Variable(np.zeros((64, 64), "float32"), trainable=False)
    assert np.shares_memory(read_value(held), read_value(held))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_an_array_of_its_own_stays_when_the_variable_changes(dtype: str) -> None:
    changing = keras.Variable(np.array([1, 2]), dtype=dtype, trainable=False)
    for taken in (to_numpy(changing), to_numpy(changing.value)):
        assert taken.dtype.name == dtype
        changing.assign([3, 4])
        assert taken.tolist() == [1, 2]
        taken[0] = 7
        assert to_numpy(changing).tolist() == [3, 4]
        changing.assign([1, 2])


def test_a_variable_made_in_a_stateless_scope_has_no_value_yet() -> None:
    assert has_value(variable())
    with keras.StatelessScope():
        made = keras.Variable("ones", shape=(2,), name="made")
        assert not has_value(made)
    assert has_value(made)


def test_the_global_seed_is_known() -> None:
    keras.utils.set_random_seed(41)
    assert random_seed() == 41
    assert global_seed_state() is None
    state = make_global_seed_state()
    assert global_seed_state() is state
    before = value_of(state)
    first = keras.ops.convert_to_numpy(keras.random.normal((3,)))
    assert value_of(state).tobytes() != before.tobytes()
    state.assign(before)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.random.normal((3,))), first)


# Weights made of parts ----------------------------------------------------------------------------


class Twin(keras.Variable):
    """Of another class."""


def split_dense() -> tuple[keras.layers.Layer, Any, Any, Any]:
    """A Dense layer, its kernel, and a part and a base that stand for it."""
    layer = keras.layers.Dense(2, name="a")
    layer.build((None, 3))
    kernel = layer.kernel
    base = same_storage(kernel, Twin)
    part = keras.Variable(np.ones((1, 2), "float32"), name="kernel_part")
    for one in (base, part):
        one.frostline_weight = kernel
    return layer, kernel, part, base


def test_parts_are_tracked_in_the_place_of_their_weight() -> None:
    layer, kernel, part, base = split_dense()
    base.trainable = False
    assert owns(layer, kernel)
    assert not has_parts(layer)
    track_parts(layer, kernel, [part], base)
    assert owns(layer, kernel)  # a weight that is parametrized is the layer's all the same
    assert has_parts(layer)
    assert [v.name for v in layer.weights] == ["kernel_part", "bias", "kernel"]
    assert own_weights(layer)[0] is kernel
    assert own_statistics(layer) == []
    assert whole_weight(part) is kernel
    assert whole_weight(layer.bias) is layer.bias
    assert [id(v) for v in whole_weights([part, base, layer.bias])] == [id(kernel), id(layer.bias)]
    with tracked_whole(layer):
        assert [id(v) for v in layer.weights] == [id(kernel), id(layer.bias)]
    assert len(layer.weights) == 3
    track_whole(layer, kernel, [part], base)
    assert [id(v) for v in layer.weights] == [id(kernel), id(layer.bias)]
    layer.kernel_again = kernel
    assert len(layer.weights) == 2


def test_two_variables_hold_one_tensor() -> None:
    one = variable("kernel")
    two = same_storage(one, Twin)
    assert type(two) is Twin
    assert (two.path, tuple(two.shape), two.dtype) == (one.path, (2,), "float32")
    assert held_tensor(one) is held_tensor(two)
    two.assign([3.0, 4.0])
    assert has_value(one)
    let_go(one)
    assert not has_value(one)
    hold(one, two)
    assert value_of(one).tolist() == [3.0, 4.0]


def test_a_variable_is_renamed_beside_another() -> None:
    layer = split_dense()[0]
    part = variable("part")
    rename_beside(part, layer.kernel)
    assert part.path == "a/part"
    rename_beside(part, variable("alone"))
    assert part.path == "part"


def test_the_modules_of_pytorch_see_the_present_variables() -> None:
    layer, kernel, part, base = split_dense()
    track_parts(layer, kernel, [part], base)
    renew_parameters([layer])
    if BACKEND == "torch":
        assert set(layer.torch_params) == {"kernel_part", "a/bias", "a/kernel"}
    else:
        assert not hasattr(layer, "torch_params")


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # JAX, without 64 bits
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_the_dtype_of_a_variable_is_that_of_its_numbers(dtype: str) -> None:
    made = keras.Variable(np.zeros(2), dtype=dtype)
    assert dtype_of(made) == to_numpy(made).dtype.name
