"""Flags that a callback changes by hand while `fl.fit` runs: one error on every backend, and no harm done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

import frostline as fl
from frostline.errors import TrainingError
from helpers.checks import (
    all_weights,
    changed,
    flags_that_train,
    frostline_fit,
    moved_by,
    require_obeys,
    require_slots,
    values,
    weights_in,
)
from helpers.small_models import batch_norm, compiled, is_readable, nested_dropout, square_layers, two_dense

ONLY_B = fl.Plan().train("b/**")
B = {"b/kernel", "b/bias"}

Toggle = Callable[[keras.Model], None]


def set_layer(name: str, flag: bool) -> Toggle:
    """Sets the flag of a layer by hand."""

    def toggle(model: keras.Model) -> None:
        model.get_layer(name).trainable = flag

    return toggle


def set_model(flag: bool) -> Toggle:
    """Sets the flag of the whole model by hand."""

    def toggle(model: keras.Model) -> None:
        # On TensorFlow, Keras passes over a flag that is set to what it is already.
        model.trainable = not flag
        model.trainable = flag

    return toggle


def set_variable(name: str, which: str, flag: bool) -> Toggle:
    """Sets the flag of one variable by hand."""

    def toggle(model: keras.Model) -> None:
        getattr(model.get_layer(name), which).trainable = flag

    return toggle


TOGGLES: dict[str, tuple[Toggle, str]] = {
    "unfreezes": (set_layer("a", True), "a/kernel, a/bias, a"),
    "freezes": (set_layer("b", False), "b/kernel, b/bias, b"),
    "unfreezes_model": (set_model(True), "a/kernel, a/bias, c/kernel, c/bias, a and 1 more"),
    "freezes_model": (set_model(False), "b/kernel, b/bias, square_layers, b"),
    "unfreezes_variable": (set_variable("c", "bias", True), "c/bias"),
    "freezes_variable": (set_variable("b", "kernel", False), "b/kernel"),
}
MOMENTS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_begin",
    "on_batch_end",
)


def as_method(moment: str, act: Callable[[], None], which: int) -> keras.callbacks.Callback:
    """A callback whose method `moment` calls `act` the `which`th time."""
    calls: list[None] = []

    def method(self: Any, *arguments: Any, **named: Any) -> None:
        calls.append(None)
        if len(calls) == which:
            act()

    return type("Toggling", (keras.callbacks.Callback,), {moment: method})()


def as_function(moment: str, act: Callable[[], None], which: int) -> keras.callbacks.Callback:
    """The same as a `LambdaCallback`, which holds a function in place of a method."""
    calls: list[None] = []

    def function(*arguments: Any, **named: Any) -> None:
        calls.append(None)
        if len(calls) == which:
            act()

    return keras.callbacks.LambdaCallback(**{moment: function})


def message(name: str, received: str) -> str:
    """The whole text of the error."""
    return (
        f"a callback changed trainable flags of the model {name!r} while it was trained.\n"
        f"  received: changed flags of {received}; they were reset to what the plan says\n"
        "  fix:      call frostline.apply(model, plan) in the callback, or give fit a Schedule"
    )


def require_harmless(model: keras.Model, before: Any, moved: set[str], trained: set[str]) -> None:
    """Values are there, only planned ones moved, flags are the plan's, and training goes on."""
    assert all(is_readable(variable) for variable in (*model.variables, *model.optimizer.variables))
    assert changed(model, before) == moved
    assert flags_that_train(model) == trained
    assert moved_by(model, lambda: frostline_fit(model, fl.Plan().train("c/**"))) == weights_in(model, "c")
    assert moved_by(model, lambda: frostline_fit(model, fl.Plan(default="train"))) == all_weights(model)


@pytest.mark.parametrize("moment", MOMENTS)
def test_unfreezing_by_hand_stops_the_training(moment: str) -> None:
    model = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
    before = values(model)
    which = 1 if moment == "on_train_begin" else 2
    callback = as_method(moment, lambda: set_layer("a", True)(model), which)
    with pytest.raises(TrainingError) as caught:
        frostline_fit(model, ONLY_B, epochs=3, callbacks=[callback])
    assert type(caught.value) is TrainingError
    assert str(caught.value) == message("square_layers", "a/kernel, a/bias, a")
    require_harmless(model, before, set() if moment == "on_train_begin" else B, B)


@pytest.mark.parametrize("moment", ["on_epoch_end", "on_train_batch_begin", "on_train_batch_end"])
@pytest.mark.parametrize("case", TOGGLES)
def test_every_way_to_change_a_flag_is_seen(case: str, moment: str) -> None:
    toggle, received = TOGGLES[case]
    model = compiled(square_layers(), optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    before = values(model)
    callback = as_function(moment, lambda: toggle(model), 2)
    with pytest.raises(TrainingError) as caught:
        frostline_fit(model, ONLY_B, epochs=3, callbacks=[callback])
    assert str(caught.value) == message("square_layers", received)
    assert all(is_readable(variable) for variable in (*model.variables, *model.optimizer.variables))
    assert changed(model, before) == B
    assert flags_that_train(model) == B
    require_slots(model, B)


def test_layers_inside_layers_are_seen() -> None:
    model = compiled(nested_dropout())
    backbone = model.get_layer("backbone")
    callback = as_method("on_epoch_begin", lambda: setattr(backbone, "trainable", True), 2)
    with pytest.raises(TrainingError) as caught:
        frostline_fit(model, fl.Plan().train("head/**"), epochs=2, callbacks=[callback])
    # Keras's setter reaches all that is below.
    received = "backbone/a/kernel, backbone/a/bias, backbone, backbone/a and 1 more"
    assert (
        str(caught.value)
        .splitlines()[1]
        .startswith(f"  received: changed flags of {received.split(' and')[0]}")
    )
    assert flags_that_train(model) == {"head/kernel", "head/bias"}


def test_statistics_flagged_by_hand_are_seen() -> None:
    model = compiled(batch_norm())
    norm = model.get_layer("bn")
    callback = as_method("on_epoch_end", lambda: setattr(norm.moving_mean, "trainable", True), 1)
    with pytest.raises(TrainingError) as caught:
        frostline_fit(model, ONLY_B, epochs=2, callbacks=[callback])
    assert str(caught.value) == message("batch_norm", "bn/moving_mean")
    assert moved_by(model, lambda: frostline_fit(model, ONLY_B)) == B


@pytest.mark.every_backend
def test_a_schedule_is_guarded_too() -> None:
    model = compiled(square_layers())
    before = values(model)
    phases = (fl.Phase("head", epochs=1), fl.Phase("more", epochs=2).train("b/**"))
    callback = as_function("on_epoch_begin", lambda: set_layer("a", True)(model), 3)
    with pytest.raises(TrainingError) as caught:
        frostline_fit(model, fl.Schedule(fl.Plan().train("c/**"), phases), callbacks=[callback])
    assert str(caught.value) == message("square_layers", "a/kernel, a/bias, a")
    require_harmless(model, before, weights_in(model, "b", "c"), weights_in(model, "b", "c"))


def test_flags_put_back_by_the_callback_itself_are_no_matter() -> None:
    model = compiled(two_dense())

    def there_and_back() -> None:
        model.get_layer("a").trainable = True
        model.get_layer("a").trainable = False

    run = frostline_fit(model, ONLY_B, epochs=2, callbacks=[as_method("on_epoch_end", there_and_back, 1)])
    assert set(run.verification.of("trained")) == B


@pytest.mark.parametrize("moment", ["on_train_begin", "on_epoch_end", "on_train_batch_end"])
@pytest.mark.parametrize("make", [as_method, as_function])
def test_a_callback_may_apply_a_plan(make: Callable[..., Any], moment: str) -> None:
    """From then on this plan counts: its flags are right, and what it freezes stays."""
    model = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan().train("b/**").train("c/**")
    seen: dict[str, Any] = {}

    def apply() -> None:
        fl.apply(model, ONLY_B)
        seen.update(values(model))

    run = frostline_fit(model, plan, epochs=3, callbacks=[make(moment, apply, 1)])
    assert run.verification.ok
    assert changed(model, seen) == B
    require_obeys(model, ONLY_B, B)


def test_after_a_plan_of_its_own_the_callback_is_guarded_still() -> None:
    model = compiled(two_dense())

    def apply_and_toggle() -> None:
        fl.apply(model, fl.Plan().train("b/kernel"))
        model.get_layer("a").trainable = True

    with pytest.raises(TrainingError) as caught:
        frostline_fit(model, ONLY_B, epochs=2, callbacks=[as_method("on_epoch_end", apply_and_toggle, 1)])
    assert str(caught.value) == message("two_dense", "a/kernel, a/bias, a")
    assert flags_that_train(model) == {"b/kernel"}


# --- what `callbacks` may be ------------------------------------------------------------------


def test_no_callbacks_need_no_guard() -> None:
    model = compiled(two_dense())
    for callbacks in (None, [], ()):
        assert moved_by(model, lambda given=callbacks: frostline_fit(model, ONLY_B, callbacks=given)) == B


@pytest.mark.parametrize("kind", ["one", "tuple", "nested", "CallbackList", "CallbackList, History"])
def test_callbacks_may_come_in_every_way_that_keras_takes(kind: str) -> None:
    model = compiled(two_dense())
    epochs: list[int] = []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    ways: dict[str, Callable[[], Any]] = {
        "one": lambda: look,
        "tuple": lambda: (look,),
        "nested": lambda: [[look], []],
        "CallbackList": lambda: keras.callbacks.CallbackList([look], model=model),
        "CallbackList, History": lambda: keras.callbacks.CallbackList([look], add_history=True, model=model),
    }
    run = frostline_fit(model, ONLY_B, epochs=2, callbacks=ways[kind]())
    assert epochs == [0, 1] == run.history.epoch
    assert len(run.history.history["loss"]) == 2
    assert run.verification.ok

    phases = (fl.Phase("one", epochs=1), fl.Phase("two", epochs=1).train("a/**"))
    run = frostline_fit(model, fl.Schedule(ONLY_B, phases), callbacks=ways[kind]())
    assert epochs == [0, 1, 0, 1]
    assert run.history.history["phase"] == ["one", "two"]

    toggling = as_method("on_epoch_begin", lambda: set_layer("a", True)(model), 1)
    given = keras.callbacks.CallbackList([toggling], model=model) if "List" in kind else toggling
    with pytest.raises(TrainingError):
        frostline_fit(model, ONLY_B, epochs=2, callbacks=given)
