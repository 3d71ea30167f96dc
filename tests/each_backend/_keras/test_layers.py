"""Private names of Keras's layers: what a layer holds, and methods that are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from frostline._keras.layers import (
    attachments,
    automatic_name,
    endings,
    ends_of,
    last_activations,
    last_operations,
    layer_flag,
    metric_variables,
    own_statistics,
    own_weights,
    producers,
    seed_generators,
    set_layer_flag,
    sublayers,
    variables_limited,
)
from frostline._keras.methods import patched, private, replace_method, restore_method, roll_back_method
from frostline.errors import UnsupportedKerasError
from helpers import small_models
from helpers.checks import names

pytestmark = pytest.mark.every_backend

# What a layer holds -------------------------------------------------------------------------------


def test_sublayers_come_once_and_in_order() -> None:
    model = small_models.subclassed()
    assert names(sublayers(model)) == ["block", "head"]
    assert names(sublayers(model.block)) == ["inner", "outer"]
    model.again = model.block
    assert names(sublayers(model)) == ["block", "head"]
    assert names(sublayers(small_models.two_dense())) == ["x", "a", "b"]


def test_weights_statistics_and_seeds_are_told_apart() -> None:
    norm = small_models.batch_norm().get_layer("bn")
    drop = small_models.nested_dropout().get_layer("backbone").get_layer("drop")
    for flag in (True, False):
        norm.trainable = flag
        assert names(own_weights(norm)) == ["gamma", "beta"]
        assert names(own_statistics(norm)) == ["moving_mean", "moving_variance"]
    assert seed_generators(norm) == []
    assert [type(one) for one in seed_generators(drop)] == [keras.random.SeedGenerator]


def test_a_layer_flag_is_of_this_layer_alone() -> None:
    model = small_models.subclassed()
    assert layer_flag(model.block) is True
    set_layer_flag(model.block, False)
    assert layer_flag(model.block) is False
    assert model.block.trainable is False
    assert model.block.inner.trainable is True
    assert model.block.inner.kernel.trainable is True


def test_variables_beyond_a_limit_are_not_made() -> None:
    made, own = keras.Layer.add_weight, vars(keras.Metric)["add_variable"]
    with variables_limited(10) as beyond:
        keras.layers.Dense(2, name="a").build((4, 4))
        assert beyond == []
        with pytest.raises(ValueError, match="more than 10 numbers"):
            keras.layers.Dense(2, name="b").build((4, 4))
        assert beyond == ["Dense 'b' with a variable of shape (4, 2)"]
    assert (keras.Layer.add_weight, vars(keras.Metric)["add_variable"]) == (made, own)


def test_what_a_model_calls_its_own_attributes_is_no_end_of_it() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.outputs, self.inputs = 3, "two"

    assert (ends_of(Own(), "outputs"), ends_of(Own(), "inputs"), last_activations(Own())) == ([], [], [])
    assert [tuple(one.shape) for one in ends_of(small_models.two_dense(), "outputs")] == [(None, 2)]
    assert ends_of(keras.Sequential(), "outputs") == []


def test_the_activations_at_the_end_of_each_output() -> None:
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(4, "relu")(x)
    twice = keras.layers.Softmax()(keras.layers.Dense(2, "softmax")(hidden))
    plain = keras.layers.Dense(2)
    bare = plain(hidden)
    model = keras.Model(x, [twice, bare, keras.layers.Activation("tanh")(keras.layers.Dense(2)(hidden))])
    assert last_activations(model) == [["softmax", "softmax"], [], ["tanh"]]
    names = [[one.activation for one in ending] for ending in endings(model)]
    assert names == [["softmax", "softmax"], ["linear"], ["tanh", "linear"]]
    assert endings(model)[1][0].operation is plain
    assert last_activations(keras.Sequential([x, keras.layers.Dense(1, "sigmoid")])) == [["sigmoid"]]
    assert last_activations(small_models.subclassed()) == []
    assert last_operations(model)[1] is plain
    assert last_operations(small_models.subclassed()) == []


def test_what_changes_values_ends_the_activations_at_the_end() -> None:
    x = keras.Input((3,))
    scaled = keras.layers.Softmax()(keras.layers.Rescaling(10.0)(keras.layers.Dense(2, "tanh")(x)))
    dropped = keras.layers.Softmax()(keras.layers.Dropout(0.5)(keras.layers.Dense(2, "tanh")(x)))
    assert last_activations(keras.Model(x, [scaled, dropped])) == [["softmax"], ["softmax", "tanh"]]


@pytest.mark.parametrize("build", [small_models.two_dense, small_models.sequential])
def test_producers_follow_the_graph(build: Callable[[], keras.Model]) -> None:
    model = build()
    a, b = model.get_layer("a"), model.get_layer("b")
    feeds = producers(model)
    assert feeds[id(b)] == [id(a)]
    assert len(feeds[id(a)]) == 1
    assert feeds[feeds[id(a)][0]] == []


def test_a_record_is_kept_on_the_model_alone() -> None:
    model = small_models.two_dense()
    config = model.get_config()
    assert attachments(model) == {}
    record = object()
    attachments(model)["record"] = record
    assert attachments(model) == {"record": record}
    assert attachments(keras.models.clone_model(model)) == {}
    before = set(vars(model.get_layer("a")))
    assert attachments(model.get_layer("a"), read_only=True) == {}
    assert set(vars(model.get_layer("a"))) == before
    assert attachments(model.get_layer("a")) == {}
    assert model.get_config() == config


def test_a_subclassed_model_has_no_producers() -> None:
    assert producers(small_models.subclassed()) == {}


def test_metrics_have_their_variables() -> None:
    model = small_models.fitted(small_models.two_dense())
    assert [(name, v.name) for name, v in metric_variables(model)] == [
        ("loss", "total"),
        ("loss", "count"),
    ]
    assert list(metric_variables(keras.layers.Dense(2))) == []


# Methods replaced ---------------------------------------------------------------------------------


def test_a_method_is_replaced_once_and_restored() -> None:
    layer = keras.layers.Dense(2)
    original = layer.call

    def shouting(call: Callable[..., Any]) -> Callable[..., Any]:
        def louder(*args: Any, **kwargs: Any) -> Any:
            return call(*args, **kwargs) + 1

        return louder

    x = np.ones((1, 2), "float32")
    plain = keras.ops.convert_to_numpy(layer(x))
    config = layer.get_config()
    for _ in range(2):
        replace_method(layer, "call", shouting)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), plain + 1, rtol=1e-6)
        assert layer.get_config() == config
    restore_method(layer, "call")
    restore_method(layer, "call")
    assert layer.call == original
    assert "call" not in vars(layer)


def test_a_method_replaced_by_somebody_else_stays() -> None:
    layer = keras.layers.Dense(2)
    theirs = layer.call
    object.__setattr__(layer, "call", theirs)
    restore_method(layer, "call")
    assert vars(layer)["call"] is theirs
    replace_method(layer, "call", lambda call: lambda inputs: call(inputs))
    restore_method(layer, "call")
    assert vars(layer)["call"] is theirs


def test_two_replace_one_method_and_undo_it_in_any_order() -> None:
    def adding(text: str) -> Callable[..., Any]:
        return lambda call: lambda: call() + text

    class Owner:
        def say(self) -> str:
            return "a"

    for first, second in (("weights", ""), ("", "weights")):
        owner = Owner()
        for by in (first, second):
            replace_method(owner, "say", adding(by or "mode"), by=by)
        assert owner.say() == "aweightsmode"
        restore_method(owner, "say", by=first)
        assert owner.say() == f"a{second or 'mode'}"
        restore_method(owner, "say", by=first)
        restore_method(owner, "say", by=second)
        assert vars(owner) == {}


def test_what_was_held_is_put_back_beside_what_others_replaced_since() -> None:
    class Owner:
        def say(self) -> str:
            return "a"

    owner = Owner()
    then = vars(owner).get("say")
    replace_method(owner, "say", lambda call: lambda: call() + "m")
    held = vars(owner)["say"]
    roll_back_method(owner, "say", held)
    assert vars(owner)["say"] is held
    replace_method(owner, "say", lambda call: lambda: call() + "w", by="weights")
    roll_back_method(owner, "say", then)
    assert owner.say() == "aw"
    roll_back_method(owner, "say", held)
    assert owner.say() == "awm"
    restore_method(owner, "say", by="weights")
    assert owner.say() == "am"


def test_attributes_are_set_and_put_back() -> None:
    class Owner:
        own = 1

    class Inheriting(Owner):
        other = 3

    with pytest.raises(KeyError), patched(Inheriting, own=2, other=4):
        assert (Owner.own, Inheriting.own, Inheriting.other) == (1, 2, 4)
        raise KeyError
    assert (Inheriting.own, Inheriting.other) == (1, 3)
    assert "own" not in vars(Inheriting)
    assert private(Inheriting, "other") == 3
    with pytest.raises(UnsupportedKerasError), patched(Inheriting, other=4, missing=1):
        raise AssertionError
    assert (Inheriting.other, hasattr(Inheriting, "missing")) == (3, False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Dense(1),
        lambda: keras.layers.Conv2DTranspose(1, 1),
        lambda: keras.layers.LSTM(1),
        lambda: keras.layers.GlobalAveragePooling1D(),
        lambda: keras.Sequential(),
    ],
)
def test_the_name_that_keras_makes_begins_with_the_automatic_one(make: Callable[[], Any]) -> None:
    keras.utils.clear_session(free_memory=False)
    first, second = make(), make()
    assert (first.name, second.name) == (automatic_name(first), f"{automatic_name(first)}_1")
