"""Private names of Keras's layers: what a layer holds, and methods that are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from frostline import _keras
from helpers import small_models
from helpers.checks import names

# What a layer holds -------------------------------------------------------------------------------


def test_sublayers_come_once_and_in_order() -> None:
    model = small_models.subclassed()
    assert names(_keras.sublayers(model)) == ["block", "head"]
    assert names(_keras.sublayers(model.block)) == ["inner", "outer"]
    model.again = model.block
    assert names(_keras.sublayers(model)) == ["block", "head"]
    assert names(_keras.sublayers(small_models.two_dense())) == ["x", "a", "b"]


def test_weights_statistics_and_seeds_are_told_apart() -> None:
    norm = small_models.batch_norm().get_layer("bn")
    drop = small_models.nested_dropout().get_layer("backbone").get_layer("drop")
    for flag in (True, False):
        norm.trainable = flag
        assert names(_keras.own_weights(norm)) == ["gamma", "beta"]
        assert names(_keras.own_statistics(norm)) == ["moving_mean", "moving_variance"]
    assert _keras.seed_generators(norm) == []
    assert [type(one) for one in _keras.seed_generators(drop)] == [keras.random.SeedGenerator]


def test_a_layer_flag_is_of_this_layer_alone() -> None:
    model = small_models.subclassed()
    assert _keras.layer_flag(model.block) is True
    _keras.set_layer_flag(model.block, False)
    assert _keras.layer_flag(model.block) is False
    assert model.block.trainable is False
    assert model.block.inner.trainable is True
    assert model.block.inner.kernel.trainable is True


@pytest.mark.parametrize("build", [small_models.two_dense, small_models.sequential])
def test_producers_follow_the_graph(build: Callable[[], keras.Model]) -> None:
    model = build()
    a, b = model.get_layer("a"), model.get_layer("b")
    feeds = _keras.producers(model)
    assert feeds[id(b)] == [id(a)]
    assert len(feeds[id(a)]) == 1
    assert feeds[feeds[id(a)][0]] == []


def test_a_record_is_kept_on_the_model_alone() -> None:
    model = small_models.two_dense()
    assert _keras.noted(model) is None
    record = object()
    _keras.note(model, record)
    assert _keras.noted(model) is record
    assert _keras.noted(keras.models.clone_model(model)) is None
    assert _keras.noted(model.get_layer("a")) is None


def test_a_subclassed_model_has_no_producers() -> None:
    assert _keras.producers(small_models.subclassed()) == {}


def test_metrics_have_their_variables() -> None:
    model = small_models.fitted(small_models.two_dense())
    assert [(name, v.name) for name, v in _keras.metric_variables(model)] == [
        ("loss", "total"),
        ("loss", "count"),
    ]
    assert list(_keras.metric_variables(keras.layers.Dense(2))) == []


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
        _keras.replace_method(layer, "call", shouting)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), plain + 1, rtol=1e-6)
        assert layer.get_config() == config
    _keras.restore_method(layer, "call")
    _keras.restore_method(layer, "call")
    assert layer.call == original
    assert "call" not in vars(layer)


def test_a_method_replaced_by_somebody_else_stays() -> None:
    layer = keras.layers.Dense(2)
    theirs = layer.call
    object.__setattr__(layer, "call", theirs)
    _keras.restore_method(layer, "call")
    assert vars(layer)["call"] is theirs
    _keras.replace_method(layer, "call", lambda call: lambda inputs: call(inputs))
    _keras.restore_method(layer, "call")
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
            _keras.replace_method(owner, "say", adding(by or "mode"), by=by)
        assert owner.say() == "aweightsmode"
        _keras.restore_method(owner, "say", by=first)
        assert owner.say() == f"a{second or 'mode'}"
        _keras.restore_method(owner, "say", by=first)
        _keras.restore_method(owner, "say", by=second)
        assert vars(owner) == {}


def test_what_was_held_is_put_back_beside_what_others_replaced_since() -> None:
    class Owner:
        def say(self) -> str:
            return "a"

    owner = Owner()
    then = vars(owner).get("say")
    _keras.replace_method(owner, "say", lambda call: lambda: call() + "m")
    held = vars(owner)["say"]
    _keras.restore_held(owner, "say", held)
    assert vars(owner)["say"] is held
    _keras.replace_method(owner, "say", lambda call: lambda: call() + "w", by="weights")
    _keras.restore_held(owner, "say", then)
    assert owner.say() == "aw"
    _keras.restore_held(owner, "say", held)
    assert owner.say() == "awm"
    _keras.restore_method(owner, "say", by="weights")
    assert owner.say() == "am"
