"""Questions about a loss that needs targets, without them: an error that says which argument is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import AuditError
from helpers.checks import first_on_each

X, Y = np.ones((8, 5), "float32"), np.zeros((8, 4), "float32")


def model(loss: Any = "mse") -> keras.Model:
    made = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="top")], name="m")
    made.compile("sgd", loss)
    return made


def two_outputs() -> keras.Model:
    x = keras.Input((5,))
    made = keras.Model(x, {"a": layers.Dense(4, name="a")(x), "b": layers.Dense(4, name="b")(x)}, name="m")
    made.compile("sgd", {"a": "mse", "b": "mae"})
    return made


class OwnStep(keras.Model):
    """Computes its loss in a step of its own."""

    def __init__(self) -> None:
        super().__init__(name="m")
        self.top = layers.Dense(4, name="top")

    def build(self, shape: Any) -> None:
        self.top.build(shape)

    def call(self, x: Any) -> Any:
        return self.top(x)

    def train_step(self, *arguments: Any) -> Any:
        x, y = arguments[-1]
        raise AssertionError(f"not reached with {x} and {y}")


ASK: dict[str, Callable[..., Any]] = {
    "why": lambda m, x, y: fl.why(m, m.trainable_weights[0].path.partition("/")[2], x, y),
    "audit": fl.audit,
    "intermediates": fl.intermediates,
    "what_if": lambda m, x, y: fl.what_if(m, x, y, block=m.layers[-1].name),
    "check_gradients": lambda m, x, y: fl.check_gradients(m, x, y, loss="mse"),
}
LOSSES = {
    "name": "mse",
    "labels": "sparse_categorical_crossentropy",
    "object": keras.losses.Huber(),
    "function": lambda y, predicted: ops.mean(ops.square(y - predicted)),
}


@pytest.mark.parametrize("ask", first_on_each(ASK))
def test_it_says_that_y_is_missing(ask: str) -> None:
    with pytest.raises(AuditError) as caught:
        ASK[ask](model(), X, None)
    assert str(caught.value) == (
        "the loss of the model 'm' cannot be computed without y.\n"
        "  received: no y\n"
        "  expected: one batch, as model.fit takes it: x, and y where the loss needs targets\n"
        "  fix:      pass y; on the command line, data that has it (--target names a column or an array)"
    )


@pytest.mark.parametrize("loss", first_on_each(LOSSES))
def test_it_says_so_of_any_loss(loss: str) -> None:
    with pytest.raises(AuditError, match="cannot be computed without y"):
        fl.why(model(LOSSES[loss]), "top/kernel", X)


def test_it_says_so_of_a_step_of_the_models_own() -> None:
    made = OwnStep()
    made.build((None, 5))
    made.compile("sgd", "mse")
    with pytest.raises(AuditError, match="cannot be computed without y"):
        fl.audit(made, X)


def test_it_names_the_output_whose_targets_are_missing() -> None:
    with pytest.raises(AuditError, match=r"cannot be computed without y\['b'\]"):
        fl.audit(two_outputs(), X, {"a": Y})
    with pytest.raises(AuditError, match=r"cannot be computed without y\."):
        fl.audit(two_outputs(), X)


def test_it_says_that_x_is_missing() -> None:
    with pytest.raises(AuditError, match=r"cannot be computed without x\."):
        fl.audit(model(), None, Y)


def test_following_it_mends_it() -> None:
    assert fl.why(model(), "top/kernel", X, Y).status == "trains"


def test_a_loss_that_needs_no_targets_gets_none() -> None:
    assert fl.audit(model(), X, loss=lambda y, predicted: ops.mean(ops.square(predicted))).ok


def test_an_error_with_targets_is_the_users_own() -> None:
    def failing(y: Any, predicted: Any) -> Any:
        raise ZeroDivisionError("by the loss")

    with pytest.raises(ZeroDivisionError, match="by the loss"):
        fl.audit(model(), X, Y, loss=failing)


def test_gradients_of_a_compiled_model_without_targets_are_of_its_outputs() -> None:
    check = fl.check_gradients(model(), X, directions=1)
    assert check.ok
    assert "a random weighting of the outputs stood in for the loss" in str(check)
