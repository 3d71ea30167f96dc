"""`fl.audit`: which loss it looks at: that of `compile`, a given one, one of a training step of its own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import AuditError
from helpers import checks
from helpers.audit_checks import audited, built, rounded
from helpers.custom_step import Adversaries, CustomStep, Fails, custom_step
from helpers.small_models import INPUTS, OUTPUTS, compiled, data_for, two_dense

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()


# Losses -------------------------------------------------------------------------------------------


def test_another_loss_takes_the_place_of_the_compiled_one() -> None:
    model = compiled(two_dense())
    assert audited(model, loss=rounded).of("cut") == ("a/kernel", "a/bias", "b/kernel", "b/bias")
    assert audited(model, loss="mae").ok
    assert audited(two_dense(), loss="mse").loss == pytest.approx(audited(model).loss)


def test_a_penalty_is_part_of_the_loss_and_of_no_status() -> None:
    model = compiled(two_dense("l2"))
    answer = audited(model, loss=rounded)
    assert {answer.statuses["a/kernel"], answer.statuses["a/bias"]} == {"cut"}
    assert answer.explanations["a/kernel"].note == "only its penalty moves it"
    assert answer.explanations["a/bias"].note == ""
    assert audited(model).ok
    assert audited(model).loss == pytest.approx(audited(two_dense("l2"), loss="mse").loss)
    without = audited(compiled(two_dense()))
    assert audited(model).loss > without.loss
    assert audited(model).gradient_norms.keys() == without.gradient_norms.keys()


class Sparse(layers.Layer):
    """Has a gradient stopped behind a layer whose output is penalized."""

    def call(self, inputs: Any) -> Any:
        return ops.stop_gradient(inputs)


def test_a_penalty_on_what_a_layer_gives_moves_it_and_is_not_the_loss() -> None:
    hidden = layers.Dense(3, activity_regularizer="l2", name="hidden")
    model = compiled(
        keras.Sequential([keras.Input((INPUTS,)), hidden, Sparse(name="s"), layers.Dense(OUTPUTS, name="b")])
    )
    answer = audited(model)
    assert answer.of("cut") == ("hidden/kernel", "hidden/bias")
    assert answer.explanations["hidden/kernel"].note == "only its penalty moves it"
    assert hidden.activity_regularizer is not None


def test_sample_weights_are_those_of_fit() -> None:
    model = compiled(two_dense())
    nothing = audited(model, sample_weight=np.zeros(8, "float32"))
    assert set(nothing.statuses.values()) == {"zero"}
    assert nothing.loss == 0
    some = np.arange(8, dtype="float32")
    for loss in ("mse", keras.losses.MeanSquaredError()):
        assert audited(model, loss=loss, sample_weight=some).loss == pytest.approx(
            audited(model, sample_weight=some).loss
        )


def two_outputs(**losses: str) -> keras.Model:
    x = keras.Input((INPUTS,), name="x")
    shared = layers.Dense(3, name="shared")(x)
    outputs = {name: layers.Dense(OUTPUTS, name=name)(shared) for name in ("first", "second")}
    model = keras.Model(x, outputs)
    model.compile("sgd", losses)
    return model


def test_several_outputs() -> None:
    x, y = data_for(two_dense())
    both = {"first": y, "second": y}
    assert fl.audit(two_outputs(first="mse", second="mae"), x, both).ok
    answer = fl.audit(two_outputs(first="mse"), x, both)
    assert answer.of("unused") == ("second/kernel", "second/bias")
    assert answer.statuses["shared/kernel"] == "trains"


def test_a_model_of_several_outputs_trains_after_it_was_looked_at() -> None:
    model, (x, y) = two_outputs(first="mse", second="mae"), data_for(two_dense())
    fl.audit(model, x, {"first": y, "second": y})
    moved = checks.moved_by(model, lambda: model.fit(x, {"first": y, "second": y}, verbose=0))
    assert moved == checks.all_weights(model)
    assert fl.audit(model, x, {"first": y, "second": y}).ok


def test_one_loss_for_several_outputs_is_refused() -> None:
    x, y = data_for(two_dense())
    model = two_outputs(first="mse", second="mae")
    with pytest.raises(AuditError, match="has several outputs, and loss='mse' is for one") as caught:
        fl.audit(model, x, [y, y], loss="mse")
    assert "compile the model with a loss for each output" in str(caught.value)
    both = {"first": y, "second": y}
    assert fl.audit(model, x, both, loss=lambda y, p: sum(ops.mean((y[n] - p[n]) ** 2) for n in y)).ok


class Penalizing(keras.Model):
    """Adds the size of a branch to its losses."""

    def __init__(self) -> None:
        super().__init__(name="penalizing")
        self.main = layers.Dense(OUTPUTS, name="main")
        self.side = layers.Dense(3, name="side")

    def build(self, shape: Any) -> None:
        self.main.build(shape)
        self.side.build(shape)

    def call(self, inputs: Any) -> Any:
        self.add_loss(ops.mean(self.side(inputs) ** 2))
        return self.main(inputs)


class OwnLoss(CustomStep):
    """Computes its loss itself, of the predictions' integer part."""

    train_step = keras.Model.train_step

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        return ops.mean((y - ops.floor(y_pred)) ** 2)


def test_added_losses_are_penalties_beside_a_loss() -> None:
    answer = audited(built(Penalizing()))
    assert answer.of("unused") == ("side/kernel", "side/bias")
    assert answer.explanations["side/kernel"].note.endswith("what add_loss adds does")
    assert answer.ok
    assert answer.statuses["main/kernel"] == "trains"


def test_what_a_layer_adds_is_the_loss_where_there_is_no_other() -> None:
    model = Penalizing()
    model.build((None, INPUTS))
    model.compile("sgd")  # of a model that had a loss before, Keras would keep that
    assert audited(model).statuses["side/kernel"] == "trains"


def test_the_models_own_compute_loss_is_asked() -> None:
    answer = audited(built(OwnLoss(name="own_loss")))
    assert set(answer.statuses.values()) == {"cut"}
    assert {cut.operation for cut in answer.explanations["a/kernel"].cuts} == {"floor"}


def test_a_model_without_a_loss_is_refused() -> None:
    with pytest.raises(AuditError) as caught:
        audited(two_dense())
    assert str(caught.value) == (
        "the model 'two_dense' has no loss.\n"
        "  received: a model that is not compiled, and no loss\n"
        "  expected: the loss that it is trained with\n"
        '  fix:      compile the model with one, or say which: loss="mse", or loss=lambda y, predicted: ...'
    )


@pytest.mark.every_backend
def test_a_model_that_was_compiled_without_a_loss_is_refused() -> None:
    model = two_dense()
    model.compile("sgd")
    x, y = data_for(model)
    for ask in (lambda: fl.audit(model, x, y), lambda: fl.why(model, "a/kernel", x, y)):
        with pytest.raises(AuditError) as caught:
            ask()
        assert caught.value.received == "a model that compile() was given no loss for, and no loss"
    assert fl.audit(model, x, y, loss="mse").ok
    with pytest.raises((AuditError, ValueError), match=r"no loss|No loss"):  # Keras itself says it on PyTorch
        fl.fit(model, fl.Plan(default="train"), x, y, verbose=0)


# Training steps of one's own ----------------------------------------------------------------------


def test_a_training_step_of_ones_own_is_run_up_to_its_gradients() -> None:
    model = compiled(custom_step())
    answer = audited(model)
    assert set(answer.statuses.values()) == {"trains"}
    assert answer.loss == pytest.approx(audited(model, loss="mse").loss)


@pytest.mark.parametrize("cut", [False, True])
def test_a_step_with_two_losses(cut: bool) -> None:
    model = built(Adversaries(cut=cut))
    x, _ = data_for(model)
    answer = fl.audit(model, x, x)
    expected = {"critic": "trains", "generator": "cut" if cut else "trains", "idle": "unused"}
    assert answer.statuses == {f"{n}/{k}": s for n, s in expected.items() for k in ("kernel", "bias")}


def test_two_losses_that_would_cancel() -> None:
    model = built(Adversaries(opposed=True))
    x, _ = data_for(model)
    answer = fl.audit(model, x, 2 * x)
    assert {"generator/kernel", "generator/bias", "critic/kernel"} <= set(answer.of("trains"))
    assert any("takes gradients of 2 losses" in note for note in answer.notes)


class AsksForNothing(CustomStep):
    """Updates nothing by gradients."""

    def train_step(self, *arguments: Any) -> Any:
        return ({}, arguments[0]) if BACKEND == "jax" else {}


def test_a_step_that_takes_no_gradient_is_refused() -> None:
    model = built(AsksForNothing(name="model"))
    with pytest.raises(AuditError) as caught:
        audited(model)
    assert str(caught.value) == (
        "the training step of the model 'model' takes no gradient that can be seen.\n"
        "  received: AsksForNothing.train_step, which ran to its end\n"
        "  expected: a step that calls GradientTape.gradient, jax.value_and_grad or loss.backward()\n"
        "  fix:      pass the loss: fl.audit(model, x, y, loss=...), or use fl.explain(loss_fn, variables)"
    )
    assert audited(model, loss="mse").ok


def test_the_users_own_error_comes_through() -> None:
    with pytest.raises(ArithmeticError, match="of the user's own"):
        audited(built(Fails(name="model")))
