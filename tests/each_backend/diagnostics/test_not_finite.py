"""Where a loss or a gradient stops being finite: the operation, its layer, its line, and what went in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.graph.not_finite import NotFinite
from helpers.checks import values

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")


class Computing(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """A layer that does what a function says."""

    def __init__(self, function: Callable[[Any], Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def model_of(function: Callable[[Any], Any], loss: Any = "mse") -> keras.Model:
    hidden = layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(seed=1), name="hidden")
    model = keras.Sequential([keras.Input((4,)), hidden, Computing(function, name="bad")], name="net")
    model.compile("sgd", loss)
    return model


def masked(z: Any) -> Any:
    return ops.where(z > 1e9, ops.log(z - z), 0.0)


def hidden_mask(z: Any) -> Any:
    scores = ops.where(z > 0, z, -np.inf)
    return ops.where(ops.isfinite(scores), z, 0.0) + ops.log(z)  # a mask is not a fault


FORWARDS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "a logarithm": (lambda z: ops.log(z), "log", "log gives nan for -"),
    "a root": (lambda z: ops.sqrt(z), "sqrt", "sqrt gives nan for -"),
    "an exponential": (lambda z: ops.exp(z * 1e6), "exp", "exp gives inf for "),
    "zero by zero": (lambda z: (z - z) / ops.sum(z - z, -1, True), "divisor", "divide gives nan for 0, 0"),
    "half precision": (
        lambda z: ops.cast(ops.cast(z * 1e8, "float16"), "float32"),
        *("dtype", "cast gives "),
    ),
    "a mask that is infinite and no fault": (hidden_mask, "log", "log gives nan for -"),
}
BACKWARDS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "a root of zero": (lambda z: ops.sqrt(ops.relu(z) * 0.0), "sqrt", "the gradient of sqrt is "),
    "a power of zero": (lambda z: ops.power(ops.relu(z) * 0.0, 0.5), "root", "the gradient of power is "),
    "a logarithm that is masked": (masked, "where()", "the gradient of log is nan for 0"),
}
EVERY = FORWARDS | BACKWARDS
MENDED: dict[str, Callable[[Any], Any]] = {
    "a logarithm": lambda z: ops.log(ops.maximum(z, 1e-7)),
    "a root": lambda z: ops.sqrt(ops.maximum(z, 0.0) + 1e-12),
    "an exponential": lambda z: ops.exp((z - ops.max(z, -1, True)) * 1e6),
    "zero by zero": lambda z: (z - z) / (ops.sum(z - z, -1, True) + 1e-7),
    "half precision": lambda z: ops.cast(ops.cast(z, "float16"), "float32"),
    "a root of zero": lambda z: ops.sqrt(ops.relu(z) * 0.0 + 1e-12),
    "a power of zero": lambda z: ops.power(ops.relu(z) * 0.0 + 1e-12, 0.5),
    "a logarithm that is masked": lambda z: ops.where(z > 1e9, ops.log(ops.where(z > 1e9, z - z, 1.0)), 0.0),
}
"""Each as its remedy says."""


def the_finding(answer: fl.Audit) -> fl.Finding:
    (found,) = [finding for finding in answer.findings if finding.code == "FL107"]
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_operation_its_layer_and_its_line_are_named(name: str) -> None:
    function, word, text = EVERY[name]
    model = model_of(function)
    before = values(model)
    answer = fl.audit(model, X, Y)
    assert set(answer.statuses.values()) == {"not_finite"}
    assert not answer.ok
    found = the_finding(answer)
    assert (found.severity, found.address) == ("error", "hidden/kernel")
    assert text in found.fact
    assert "in layer 'bad'" in found.fact
    assert found.where is not None
    assert found.where.file == __file__
    assert word in found.remedy
    explained = answer.explanations["hidden/kernel"]
    assert text in explained.note
    assert explained.remedy == found.remedy
    json.loads(answer.to_json(), parse_constant=pytest.fail)
    assert all(map(np.array_equal, before, values(model)))


@pytest.mark.parametrize("name", MENDED)
def test_what_is_mended_as_the_remedy_says_is_clean(name: str) -> None:
    answer = fl.audit(model_of(MENDED[name]), X, Y)
    assert not [finding for finding in answer.findings if finding.code == "FL107"]
    assert "not_finite" not in answer.statuses.values()


@pytest.mark.parametrize("name", BACKWARDS)
def test_why_and_explain_say_the_same(name: str) -> None:
    function, _, text = BACKWARDS[name]
    assert text in fl.why(model_of(function), "hidden/kernel", X, Y).note
    kernel = keras.Variable(np.array([-1.0, 1.0, 2.0], "float32"), name="kernel")
    answer = fl.explain(lambda: ops.sum(function(kernel)), [kernel])
    assert answer["kernel"].status == "not_finite"
    assert text in answer["kernel"].note


def test_explain_says_that_a_loss_is_not_finite_where_its_gradients_are() -> None:
    kernel = keras.Variable(np.array([-1.0, 1.0, 2.0], "float32"), name="kernel")
    answer = fl.explain(lambda: ops.sum(ops.log(kernel)), [kernel])
    assert answer["kernel"].status == "trains"  # the slope of a logarithm is finite there
    assert "the loss, nan, is not finite: log gives nan for -1 (" in answer.notes[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_are_not_finite_are_named(bad: float) -> None:
    x = X.copy()
    x[3, 1] = bad
    found = the_finding(fl.audit(model_of(lambda z: z), x, Y))
    assert f"x holds {bad:g} (1 of 64 numbers)" in found.fact
    assert found.remedy.startswith("leave such samples out")


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = model_of(lambda z: z)
    model.layers[0].bias.assign([0.0, np.nan])
    found = the_finding(fl.audit(model, X, Y))
    assert "hidden/bias holds nan (1 of 2 numbers)" in found.fact
    assert found.remedy.startswith("begin again")


def test_several_kernels_behind_it() -> None:
    hidden = [layers.Dense(3, name=f"h{place}") for place in range(6)]
    model = keras.Sequential([keras.Input((4,)), *hidden, Computing(lambda z: ops.log(z * 0.0 - 1.0))])
    model.compile("sgd", "mse")
    answer = fl.audit(model, X, np.ones((16, 3), "float32"))
    assert {finding.code for finding in answer.findings if finding.severity != "note"} <= {"FL107", "FL402"}
    the_finding(answer)


def test_targets_that_are_not_finite_are_named() -> None:
    found = the_finding(fl.audit(model_of(lambda z: z), X, np.full_like(Y, np.nan)))
    assert "y holds nan (32 of 32 numbers)" in found.fact


def test_a_loss_that_is_infinite_with_finite_gradients() -> None:
    model = model_of(lambda z: z, loss=lambda y, p: ops.mean(p) + ops.stop_gradient(ops.exp(p * 0 + 1e3)))
    answer = fl.audit(model, X, Y)
    assert set(answer.statuses.values()) == {"trains"}
    assert not answer.ok
    found = the_finding(answer)
    assert "the loss, inf, is not finite on this batch: exp gives inf for 1000" in found.fact


class Attend(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Leaves out places by -inf in front of a softmax, as masks do: where all are out, nothing is left."""

    def call(self, scores: Any, seen: Any) -> Any:
        hidden = ops.where(seen > 0, scores, -np.inf)
        return ops.softmax(hidden, axis=-1)


def test_an_infinity_that_is_meant_is_not_the_cause() -> None:
    keras.utils.set_random_seed(0)
    x, seen = keras.Input((4,)), keras.Input((3,))
    model = keras.Model([x, seen], Attend(name="attend")(layers.Dense(3, name="score")(x), seen))
    model.compile("sgd", "mse")
    y, open_ = np.zeros((16, 3), "float32"), np.ones((16, 3), "float32")
    open_[:, 0] = 0
    assert fl.audit(model, [X, open_], y).ok
    shut = open_.copy()
    shut[5] = 0
    (found,) = [one for one in fl.audit(model, [X, shut], y).findings if one.code == "FL107"]
    assert found.where is not None
    assert found.where.source == "return ops.softmax(hidden, axis=-1)"
    assert "nan for -inf" in found.fact


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda x: ops.mean(x) * np.inf, "ops.mean(x) * np.inf"),
        (lambda x: ops.mean(x**2) + ops.sum(ops.convert_to_tensor(np.float32([np.inf, 1]))), "np.inf, 1"),
    ],
    ids=["times", "plus"],
)
def test_an_infinity_in_the_program_that_is_the_fault_is_named(function: Any, line: str) -> None:
    weight = keras.Variable(np.ones(3, "float32"), name="weight")
    note = " ".join(" ".join(fl.explain(lambda: function(weight), [weight]).notes).split())
    assert "was not seen" not in note
    assert line in note


def test_a_loss_of_a_model_that_is_multiplied_by_infinity() -> None:
    model = model_of(lambda x: x, lambda y, p: ops.mean(ops.square(y - p)) * np.inf)
    (found,) = [one for one in fl.audit(model, X, Y).findings if one.code == "FL107"]
    assert "multiply gives inf" in found.fact
    assert found.where is not None
    assert "* np.inf" in found.where.source


def test_in_a_recurrent_cell() -> None:
    class Cell(layers.Layer):  # type: ignore[misc]
        state_size = 3

        def call(self, x: Any, states: Any) -> Any:
            state = ops.log(states[0] + x)
            return state, [state]

    inputs = keras.Input((5, 2))
    hidden = layers.RNN(Cell(name="cell"), name="rnn")(layers.Dense(3, name="dense")(inputs))
    model = keras.Model(inputs, hidden)
    model.compile("sgd", "mse")
    found = the_finding(fl.audit(model, rng.normal(size=(4, 5, 2)), np.ones((4, 3))))
    assert "log gives nan for -" in found.fact
    assert "in layer 'rnn/cell'" in found.fact


def test_a_place_that_cannot_be_seen_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.diagnostics import not_finite

    def refuses(computation: Any) -> NotFinite | None:
        raise RuntimeError("no such kernel")

    model = model_of(lambda z: ops.log(z))
    monkeypatch.setattr(not_finite.dispatch, "first_not_finite", refuses)
    found = the_finding(fl.audit(model, X, Y))
    assert "which operation gives it was not seen: looking for it ended in RuntimeError: no such kernel" in (
        found.fact
    )
    monkeypatch.setattr(not_finite.dispatch, "first_not_finite", lambda computation: None)
    found = the_finding(fl.audit(model, X, Y))
    assert "was not seen: it is in a gradient of the user's own, or in compiled code" in found.fact
