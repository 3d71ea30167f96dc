"""A weight that something sets back is found, wherever it is done, and what comes back by itself is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

import frostline as fl
from frostline._keras.trainers import sync_values
from frostline.training.watch.allowance import Allowance
from helpers.watched_programs import mlp, numbers, target

layers = keras.layers


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(Allowance, "allows", lambda *_: True)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(1)


class Back(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets a kernel back at some moment of the training."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        setattr(self, moment, lambda *_, **__: self._back())

    def on_train_begin(self, logs: Any = None) -> None:
        self._value = keras.ops.convert_to_numpy(self._kernel).copy()

    @property
    def _kernel(self) -> Any:
        return self.model.get_layer("one").kernel

    def _back(self) -> None:
        sync_values(self.model)  # on JAX the values of a running fit are elsewhere
        self._kernel.assign(self._value.copy())


MOMENTS = ("on_train_batch_end", "on_train_batch_begin", "on_epoch_end", "on_epoch_begin")


def compiled() -> Any:
    model = mlp("tanh")
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def found(model: Any, callbacks: Callable[[Any], list[Any]], **more: Any) -> dict[str, str]:
    """Train, and return what FL604 and FL605 say, by address."""
    x = numbers(4)
    watch = fl.callbacks.Watch(x, target(x), share=1.0)
    arguments = {"epochs": 3, "batch_size": 64, "verbose": 0, **more}
    model.fit(x, target(x), callbacks=callbacks(watch), **arguments)
    return {one.address: one.code for one in watch.findings if one.code in ("FL604", "FL605")}


@pytest.mark.every_backend
@pytest.mark.parametrize("in_front", [True, False], ids=["in front", "behind"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_weight_that_a_callback_sets_back_is_found(moment: str, in_front: bool) -> None:
    def callbacks(watch: Any) -> list[Any]:
        return [Back(moment), watch] if in_front else [watch, Back(moment)]

    assert found(compiled(), callbacks) == {"one/kernel": "FL605"}


@pytest.mark.every_backend
def test_in_a_training_of_one_step_per_epoch_and_in_one_epoch_too() -> None:
    def callbacks(watch: Any) -> list[Any]:
        return [watch, Back("on_train_batch_end")]

    assert found(compiled(), callbacks, batch_size=256) == {"one/kernel": "FL605"}
    assert found(compiled(), callbacks, epochs=1) == {"one/kernel": "FL605"}


class _Fixed(keras.constraints.Constraint):  # type: ignore[misc]
    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self, weight: Any) -> Any:
        return keras.ops.convert_to_tensor(self._value) + 0 * weight


@pytest.mark.every_backend
def test_a_weight_that_its_constraint_sets_back_or_rounding_holds_is_found() -> None:
    model = compiled()
    kernel = model.get_layer("one").kernel
    kernel.constraint = _Fixed(keras.ops.convert_to_numpy(kernel).copy())
    assert found(model, lambda watch: [watch]) == {"one/kernel": "FL605"}
    model = compiled()
    model.get_layer("one").kernel.assign(keras.ops.full((4, 16), 1e9))
    assert found(model, lambda watch: [watch])["one/kernel"] == "FL604"


@pytest.mark.every_backend
def test_what_is_said_of_it() -> None:
    x, model = numbers(4), compiled()
    watch = fl.callbacks.Watch(x, target(x), share=1.0)
    model.fit(x, target(x), epochs=2, verbose=0, callbacks=[Back("on_epoch_end"), watch])
    (one,) = watch.findings
    assert one.fact == (
        "each of epochs 1 to 2 moved it, and it came out of each with the very bits that it began with"
    )


@pytest.mark.every_backend
def test_weights_taken_up_again_once_are_no_finding() -> None:
    model = compiled()

    def back_once(watch: Any) -> list[Any]:
        kept: list[Any] = []

        def end(epoch: int, logs: Any) -> None:
            if epoch == 0:
                kept.extend(w.copy() for w in model.get_weights())
            if epoch == 1:
                model.set_weights(kept)

        return [watch, keras.callbacks.LambdaCallback(on_epoch_end=end)]

    assert found(model, back_once, epochs=4) == {}
