"""Where the look at gradients before training fails, or is left out, `Run` and the receipt say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.diagnostics import preflight
from frostline.verification.receipt import Receipt
from helpers.checks import frostline_fit
from helpers.small_models import INPUTS, OUTPUTS, compiled, data_for, two_dense

STARTS = r"^gradients were not checked before training: "


def rounded() -> keras.Model:
    """Dense `a`, rounded, Dense `b`: nothing reaches `a`."""
    inputs = keras.Input((INPUTS,))
    hidden = ops.round(keras.layers.Dense(3, name="a")(inputs))
    return compiled(keras.Model(inputs, keras.layers.Dense(OUTPUTS, name="b")(hidden), name="rounded"))


def broken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(preflight, "inspect_model", fail)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # what Keras says of it on TensorFlow
@pytest.mark.parametrize("error", [RuntimeError("no\nluck"), KeyError("num_consts"), fl.FrostlineError("so")])
def test_a_look_that_fails_is_said_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    broken(monkeypatch, error)
    with pytest.warns(UserWarning, match=STARTS) as warned:
        run = frostline_fit(rounded(), fl.Plan(default="train"))
    said = f"{type(error).__name__}: "
    assert any(said in str(w.message) and f"Frostline {fl.__version__}" in str(w.message) for w in warned)
    assert run.gradients_not_checked.startswith(said)
    assert f"gradients were not checked: {said}" in str(run)
    run.receipt.save(tmp_path / "receipt.json")
    loaded = Receipt.load(tmp_path / "receipt.json")
    assert loaded.gradients_not_checked == run.gradients_not_checked
    assert f"gradients were not checked: {said}" in str(loaded)


def test_a_look_that_fails_fails_a_test_that_does_not_expect_it(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, RuntimeError("no luck"))
    with pytest.raises(UserWarning, match=STARTS):
        frostline_fit(rounded(), fl.Plan(default="train"))


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_it_is_tried_again_where_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plan = rounded(), fl.Plan(default="train")
    with monkeypatch.context() as patch:
        broken(patch, RuntimeError("no luck"))
        with pytest.warns(UserWarning, match=STARTS):
            frostline_fit(model, plan)
    with pytest.raises(fl.FrostlineError, match="can receive no gradient"):
        frostline_fit(model, plan)


def test_a_run_that_is_checked_says_nothing() -> None:
    run = frostline_fit(compiled(two_dense()), fl.Plan().train("b/**"))
    assert run.gradients_not_checked == ""
    assert "gradients_not_checked" not in run.receipt.to_data()
    assert "not checked" not in str(run)


@pytest.mark.parametrize("schedule", [False, True])
def test_whoever_leaves_it_out_finds_it_in_the_receipt(schedule: bool) -> None:
    plan: Any = fl.Plan().train("b/**")
    plan = fl.Schedule(plan, (fl.Phase("one", epochs=1),)) if schedule else plan
    run = frostline_fit(compiled(two_dense()), plan, preflight=False)
    assert run.receipt.gradients_not_checked == "preflight=False"


def test_data_that_cannot_be_looked_into_are_named_without_a_warning() -> None:
    def batches() -> Iterator[Any]:
        x, y = data_for(two_dense())
        while True:
            yield x, y

    model = compiled(two_dense())
    run = fl.fit(model, fl.Plan().train("b/**"), batches(), steps_per_epoch=1, shuffle=False, verbose=0)
    assert run.gradients_not_checked == "generator gives its samples to training alone"
    run = fl.fit(model, fl.Plan().train("b/**"), *data_for(model), verbose=0)
    assert run.gradients_not_checked == ""


def test_a_finished_run_that_is_resumed_says_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken(monkeypatch, RuntimeError("no luck"))
    plan = fl.Plan().train("b/**")
    runs = []
    for _ in range(2):
        with pytest.warns(UserWarning):
            runs.append(frostline_fit(compiled(two_dense()), plan, resume=tmp_path / "runs"))
    assert runs[0].gradients_not_checked == runs[1].gradients_not_checked != ""


class TwoSteps(keras.Model):
    """Takes one gradient, then does something that zeros cannot carry, then takes another one."""

    def __init__(self) -> None:
        super().__init__(name="two_steps")
        self.first, self.second = keras.layers.Dense(2, name="first"), keras.layers.Dense(2, name="second")
        self.failing = False

    def call(self, x: Any) -> Any:
        return self.first(x) + self.second(x)

    def between(self, gradients: Any) -> None:
        """Raise where all gradients are zero, as a division by their norm in Python does."""
        if self.failing and all(float(np.sum(np.abs(ops.convert_to_numpy(g)))) == 0.0 for g in gradients):
            raise ZeroDivisionError("gradients of zeros")


if keras.backend.backend() == "torch":

    class Stepping(TwoSteps):
        def train_step(self, data: Any) -> Any:
            x, y = data
            for layer in (self.first, self.second):
                self.zero_grad()
                loss = ops.mean(ops.square(layer(x) - y))
                loss.backward()
                weights = layer.trainable_weights
                gradients = [
                    w.value.grad if w.value.grad is not None else ops.zeros(w.shape) for w in weights
                ]
                self.between(gradients)
                self.optimizer.apply(gradients, weights)
            return {"loss": loss}

    @pytest.fixture
    def stepping() -> keras.Model:
        keras.utils.set_random_seed(1)
        model = Stepping()
        model(np.ones((1, 3), "float32"))
        model.compile(keras.optimizers.SGD(0.1))
        # One optimizer for both: it is built for all of them.
        model.optimizer.build(model.trainable_variables)
        return model

    def test_a_step_that_was_seen_in_part_condemns_no_weight(stepping: Any) -> None:
        stepping.failing = True
        x, y = np.ones((8, 3), "float32"), np.zeros((8, 2), "float32")
        found = fl.audit(stepping, x, y)
        assert any("the training step was seen in part" in note for note in found.notes)
        with pytest.warns(UserWarning, match=r"took no gradient of second/kernel.*ZeroDivisionError"):
            why = preflight.preflight(stepping, [fl.Plan(default="train").resolve(stepping)], x, y)
        assert "behind gradient 1 it raised ZeroDivisionError" in why

    def test_a_gradient_of_the_users_that_cannot_be_asked_is_said() -> None:
        import torch

        class Picky(torch.autograd.Function):
            @staticmethod
            def forward(_: Any, x: Any) -> Any:
                return x * 2

            @staticmethod
            def backward(_: Any, gradient: Any) -> Any:
                if gradient.requires_grad:  # so is the question, and never training
                    raise ValueError("only in training")
                return gradient * 2

        class Doubled(keras.layers.Layer):
            def call(self, x: Any) -> Any:
                return Picky.apply(x)

        inputs = keras.Input((3,))
        hidden = Doubled()(keras.layers.Dense(2, name="a")(inputs))
        model = compiled(keras.Model(inputs, keras.layers.Dense(2, name="b")(ops.round(hidden) + hidden)))
        x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
        note = "could not be asked for (ValueError: only in training); it is taken to pass"
        assert any(note in one for one in fl.audit(model, x, y).notes)
        with pytest.warns(UserWarning, match="only in training"):
            phases = fl.Phase("one", epochs=1), fl.Phase("two", epochs=1)
            schedule = fl.Schedule(fl.Plan(default="train"), phases)
            run = fl.fit(model, schedule, x, y, verbose=0)
        assert "only in training" in run.gradients_not_checked


if keras.backend.backend() == "tensorflow":

    def test_a_gradient_of_the_users_that_cannot_be_asked_is_said() -> None:
        import tensorflow as tf

        @tf.custom_gradient
        def picky(x: Any) -> Any:
            def gradient(dy: Any) -> Any:
                if dy.op.type == "Placeholder":  # so is the question, and never training
                    raise ValueError("only in training")
                return dy * 2

            return x * 2, gradient

        class Doubled(keras.layers.Layer):
            def call(self, x: Any) -> Any:
                return picky(x)

        inputs = keras.Input((3,))
        hidden = Doubled()(keras.layers.Dense(2, name="a")(inputs))
        model = compiled(keras.Model(inputs, keras.layers.Dense(2, name="b")(hidden)))
        x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
        note = "could not be asked for (ValueError: only in training); it is taken to pass"
        assert any(note in one for one in fl.audit(model, x, y).notes)
        with pytest.warns(UserWarning, match="only in training"):
            run = fl.fit(model, fl.Plan(default="train"), x, y, verbose=0)
        assert "only in training" in run.gradients_not_checked
