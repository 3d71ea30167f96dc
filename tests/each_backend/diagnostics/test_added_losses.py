"""A weight that the model's own `add_loss` trains is told apart from one that a regularizer alone moves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from helpers import checks

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(1)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
ADDED = "the loss on the data does not move it; what add_loss adds does"


class Codes(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """The codes of a VQ-VAE, as in Keras's example."""

    def build(self, shape: Any) -> None:
        self.codes = self.add_weight(shape=(6, 4), initializer="random_normal", name="codes")

    def call(self, x: Any) -> Any:
        distances = ops.sum((x[:, None] - self.codes[None]) ** 2, -1)
        chosen = ops.take(self.codes, ops.argmin(distances, -1), axis=0)
        kept = ops.mean((x - ops.stop_gradient(chosen)) ** 2)
        self.add_loss(ops.mean((chosen - ops.stop_gradient(x)) ** 2) + 0.25 * kept)
        return x + ops.stop_gradient(chosen - x)


class Beside(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Has a branch that enters what it adds, and not what it gives.

    Args:
        term: From the branch and its inputs to what is added.
        kernel: How the branch begins.
    """

    def __init__(self, term: Any, kernel: Any = "glorot_uniform", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.term = term
        self.branch = layers.Dense(4, kernel_initializer=kernel, name="branch")

    def build(self, shape: Any) -> None:
        self.branch.build(shape)

    def call(self, x: Any) -> Any:
        self.add_loss(self.term(self.branch, x))
        return x


def model_of(*body: Any, last: Any = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    last = last or layers.Dense(2, name="head")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="low"), *body, last])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def found_in(answer: fl.Audit) -> list[tuple[str, str]]:
    """Code and address of what is found of gradients."""
    return [(one.code, one.address) for one in answer.findings if one.code.startswith("FL10")]


def test_codes_that_a_commitment_trains() -> None:
    model = model_of(Codes(name="vq"))
    answer = fl.audit(model, X, Y)
    assert (answer.ok, answer.findings, answer.statuses["vq/codes"]) == (True, (), "cut")
    assert "ok: nothing found" in str(answer)
    assert ADDED in " ".join(str(answer).split())
    told = fl.why(model, "vq/codes", X, Y)
    assert (told.ok, told.added, told.note, told.remedy) == (True, True, ADDED, "")
    assert fl.why_all(model, X, Y).ok
    assert checks.moved_by(model, lambda: model.fit(X, Y, verbose=0)) == checks.all_weights(model)


def test_a_choice_that_add_loss_moves_is_cut_all_the_same() -> None:
    class Pick(Codes):
        def call(self, x: Any) -> Any:
            scores = ops.matmul(x, ops.transpose(self.codes))
            self.add_loss(ops.mean(scores**2))
            return ops.one_hot(ops.argmax(scores, -1), 6)

    answer = fl.audit(model_of(Pick(name="pick")), X, Y)
    assert not answer.ok
    assert answer.statuses["pick/codes"] == "cut"
    assert not answer.explanations["pick/codes"].ok
    assert found_in(answer) == [("FL101", "low/kernel")]


def test_an_auxiliary_head() -> None:
    model = model_of(Beside(lambda branch, x: ops.mean((branch(x) - x) ** 2), name="aux"))
    answer = fl.audit(model, X, Y)
    assert answer.of("unused") == ("aux/branch/kernel", "aux/branch/bias")
    assert (answer.ok, found_in(answer)) == (True, [])
    assert {one.note for one in answer.explanations.values()} == {ADDED}


def test_with_a_regularizer_beside() -> None:
    low = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2", name="first")
    model = model_of(low, Beside(lambda branch, x: ops.mean((branch(x) - x) ** 2), name="aux"))
    assert fl.audit(model, X, Y).ok


def test_a_regularizer_alone_trains_nothing() -> None:
    def target(branch: Any, x: Any) -> Any:
        return ops.mean((branch(ops.stop_gradient(x)) - x) ** 2)

    cut = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2", name="cut")
    model = model_of(cut, layers.Lambda(ops.round), Beside(target, name="aux"))
    answer = fl.audit(model, X, Y)
    assert not answer.ok
    assert {"cut/kernel", "cut/bias"} <= {*answer.of("cut")}
    assert answer.explanations["cut/kernel"].note == "only its penalty moves it"
    assert answer.explanations["aux/branch/kernel"].ok
    assert found_in(answer) == [("FL101", "low/kernel")]


def test_a_regularizer_by_add_loss_trains_nothing() -> None:
    def decay(branch: Any, x: Any) -> Any:
        return 0.1 * ops.sum(branch.kernel**2)

    answer = fl.audit(model_of(Beside(decay, name="aux")), X, Y)
    assert not answer.ok
    assert answer.explanations["aux/branch/kernel"].note == "only its penalty moves it"
    assert found_in(answer) == [("FL102", "aux/branch/kernel"), ("FL102", "aux/branch/bias")]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_teacher_behind_a_stop_is_cut_there(frozen: bool) -> None:
    def distance(branch: Any, x: Any) -> Any:
        return ops.mean((x - ops.stop_gradient(branch(x))) ** 2)

    model = model_of(Beside(distance, name="teacher"))
    model.layers[1].trainable = not frozen
    answer = fl.audit(model, X, Y)
    if frozen:
        assert answer.ok
        return
    assert answer.of("cut") == ("teacher/branch/kernel", "teacher/branch/bias")
    (found,) = (one for one in answer.findings if one.code == "FL101")
    assert found.where is not None
    assert found.where.source == "return ops.mean((x - ops.stop_gradient(branch(x))) ** 2)"
    told = fl.why(model, "teacher/branch/kernel", X, Y)
    assert [cut.operation for cut in told.cuts] == ["stop_gradient"]
    assert "stop_gradient" in told.remedy


def test_an_auxiliary_head_that_is_dead_is_zero() -> None:
    def dead(branch: Any, x: Any) -> Any:
        return ops.mean(ops.relu(branch(x) - 100.0) * x)

    answer = fl.audit(model_of(Beside(dead, name="aux")), X, Y)
    assert answer.of("zero") == ("aux/branch/kernel", "aux/branch/bias")
    assert not answer.ok


def test_a_weight_that_the_data_give_zeros_and_add_loss_does_not() -> None:
    last = layers.Dense(2, kernel_initializer="zeros", trainable=False, name="head")
    model = model_of(Beside(lambda branch, x: ops.mean((branch(x) - 1.0) ** 2), name="aux"), last=last)
    answer = fl.audit(model, X, Y)
    assert (answer.ok, found_in(answer), answer.statuses["low/kernel"]) == (True, [], "zero")
    assert answer.explanations["low/kernel"].note == ADDED


def test_what_is_in_no_loss_is_unused() -> None:
    unused = layers.Dense(3, name="unused")
    layer = Beside(lambda branch, x: ops.mean(branch(x) ** 2), name="aux")
    layer.other = unused
    unused.build((None, 4))
    answer = fl.audit(model_of(layer), X, Y)
    assert not answer.ok
    assert found_in(answer) == [("FL102", "aux/unused/kernel")]
