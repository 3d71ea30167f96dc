"""`fl.explain`: names, what it leaves untouched, prints and refuses. See also `test_explain_cases`."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.diagnostics.explanation import Explanation
from frostline.errors import FrostlineError
from helpers.small_models import value_of

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()


def variable(name: str, *shape: int, **options: Any) -> keras.Variable:
    return keras.Variable(np.full(shape or (2,), 0.7, "float32"), name=name, **options)


# Names --------------------------------------------------------------------------------------------


def test_names_are_keys_or_paths_and_unique() -> None:
    first, second = variable("w"), variable("w")

    def loss() -> Any:
        return ops.sum(first) + ops.sum(second)

    assert list(fl.explain(loss, {"a": first, "b": second})) == ["a", "b"]
    assert list(fl.explain(loss, [first, second])) == ["w", "w#2"]
    assert list(fl.explain(loss, [("a", first), ("b", second)])) == ["a", "b"]
    assert list(fl.explain(loss, iter([first]))) == ["w"]
    assert list(fl.explain(loss, first)) == ["w"]


def test_an_unknown_name_suggests_a_near_one() -> None:
    weight = variable("kernel")
    answer = fl.explain(lambda: ops.sum(weight), [weight])
    with pytest.raises(KeyError, match="no variable is named 'kernle'; did you mean kernel\\?"):
        answer["kernle"]


# What it says -------------------------------------------------------------------------------------


def test_the_gradient_is_measured() -> None:
    weight, other = variable("w", 4), variable("other")
    answer = fl.explain(lambda: ops.sum(3.0 * weight), [weight, other])

    assert answer.loss == pytest.approx(3 * 4 * 0.7)
    assert answer["w"].gradient_norm == pytest.approx(6.0)
    assert answer["other"].status == "unused"
    assert not answer["other"].gradient_norm
    assert not answer.ok
    assert fl.explain(lambda: ops.sum(weight), [weight]).ok


def test_a_gradient_that_is_not_finite_is_noted() -> None:
    weight = keras.Variable(np.zeros(2, "float32"), name="w")
    one = fl.explain(lambda: ops.sum(ops.sqrt(weight)), [weight])["w"]
    assert one.status == "not_finite"
    assert one.note.startswith("the gradient of sqrt is inf for 0 (")


def test_layers_stand_in_the_route_by_their_address() -> None:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="first")], name="inner")
    model = keras.Sequential([inner, layers.Dense(1, name="head")], name="net")
    x = ops.ones((2, 3))
    answer = fl.explain(lambda: ops.mean(model(x)), model.trainable_variables)

    route = answer[inner.layers[0].kernel.path].route
    named = [step.layer for step in route if step.layer]
    assert named == ["net/inner/first", "net/head"]


def test_a_regularizer_is_a_route_of_its_own() -> None:
    dense = layers.Dense(2, kernel_regularizer="l2", name="dense")
    dense.build((None, 3))
    answer = fl.explain(lambda: ops.sum(dense.losses[0]), dense.trainable_variables)
    assert [one.status for one in answer.values()] == ["trains", "unused"]


def test_the_question_may_be_asked_in_half_precision() -> None:
    dense = layers.Dense(2, dtype="mixed_bfloat16")
    dense.build((None, 3))
    answer = fl.explain(lambda: ops.mean(ops.cast(dense(ops.ones((2, 3))), "float32")), dense.variables)
    assert {one.status for one in answer.values()} == {"trains"}


# What it leaves untouched -------------------------------------------------------------------------


def test_nothing_is_written() -> None:
    model = keras.Sequential(
        [keras.Input((3,)), layers.BatchNormalization(), layers.Dropout(0.5, seed=1), layers.Dense(2)]
    )
    counter = keras.Variable(0.0, trainable=False, name="counter")
    variables = [*model.variables, counter]
    variables += [state for layer in model.layers for state in layer.non_trainable_variables]
    before = [value_of(v).copy() for v in variables]
    flags = [v.trainable for v in variables]
    call = keras.Layer.__call__

    def loss() -> Any:
        counter.assign(counter + 1.0)
        return ops.mean(model(np.ones((4, 3), "float32"), training=True)) * counter

    answer = fl.explain(loss, model.trainable_variables)

    assert {one.status for one in answer.values()} <= {"trains", "zero"}
    assert all(np.array_equal(a, value_of(v)) for a, v in zip(before, variables, strict=True))
    assert [v.trainable for v in variables] == flags
    assert keras.Layer.__call__ is call


def test_an_error_in_the_loss_comes_through_and_leaves_keras_as_it_was() -> None:
    weight, call = variable("w"), keras.Layer.__call__

    def loss() -> Any:
        raise ZeroDivisionError("of the user's own")

    with pytest.raises(ZeroDivisionError, match="of the user's own"):
        fl.explain(loss, [weight])
    assert keras.Layer.__call__ is call
    weight.assign(ops.ones(2))
    assert np.array_equal(value_of(weight), np.ones(2))


def test_a_model_trains_as_before_afterwards() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    fl.explain(lambda: ops.mean(ops.square(model(x) - ops.ones((4, 1)))), model.trainable_variables)
    before = value_of(model.layers[0].kernel).copy()
    model.fit(x, y, verbose=0)
    assert not np.array_equal(before, value_of(model.layers[0].kernel))


# How it prints ------------------------------------------------------------------------------------


def test_the_text_of_one_explanation() -> None:
    kernel, head = variable("kernel", 3, 3), variable("head", 3, 3)

    def loss() -> Any:
        hidden = ops.round(ops.ones((2, 3)) @ kernel)
        return ops.mean(hidden @ head)

    answer = fl.explain(loss, [kernel, head])
    where = answer["kernel"].cuts[0].where
    assert where is not None
    assert where.function == "loss"

    text = " ".join(str(answer["kernel"]).split())
    assert text.startswith(
        "kernel: cut (the loss depends on it, but no gradient reaches it) "
        "round has a derivative of zero wherever it has one ("
    )
    assert f"test_explain.py:{where.line}): hidden = ops.round(ops.ones((2, 3)) @ kernel)" in text
    assert " > round fix: let the gradient pass as if round were not there" in text
    assert text.endswith("x + stop_gradient(round(x) - x)")
    assert str(answer["head"]).startswith("head: trains (a gradient reaches it, of norm ")


def test_the_table_of_all() -> None:
    kernel, head, spare = variable("kernel", 3, 3), variable("head", 3, 3), variable("spare")

    def loss() -> Any:
        return ops.mean(ops.stop_gradient(ops.ones((2, 3)) @ kernel) @ head)

    text = str(fl.explain(loss, [kernel, head, spare]))
    assert text.startswith("Gradients of the loss (4.41) with respect to 3 variables\n")
    rows = {line.split()[0]: line.split()[1] for line in text.splitlines()[2:5]}
    assert rows == {"kernel": "cut", "head": "trains", "spare": "unused"}
    assert "\nspare: unused\n  fix: nothing reads it while the loss is computed" in text
    assert "return ops.mean(ops.stop_gradient(ops.ones((2, 3)) @ kernel) @ head)" in text


def test_a_constant_loss_is_named() -> None:
    weight = variable("w")
    made_before = ops.ones(())
    answer = fl.explain(lambda: made_before, [weight])
    assert answer["w"].status == "unused"
    assert "must run inside it (inside the tape), not before" in answer["w"].remedy
    assert answer.notes == (
        "the loss is a constant: it is computed from no variable, and was probably made before the call",
    )


def test_explanations_go_into_json() -> None:
    weight = variable("w")
    one = fl.explain(lambda: ops.sum(ops.floor(weight)), [weight])["w"]
    data = json.loads(json.dumps(one.to_data()))
    assert data["status"] == "cut"
    assert data["cuts"][0]["where"]["function"] == "<lambda>"


def test_user_text_is_no_markup() -> None:
    assert str(Explanation("[red]w[/red]", "trains")).startswith("[red]w[/red]: trains")


# What it refuses ----------------------------------------------------------------------------------


def test_a_loss_that_was_computed_already() -> None:
    weight = variable("w")
    with pytest.raises(FrostlineError) as caught:
        fl.explain(ops.sum(weight), [weight])  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith(
        "the loss must be a function, so that its computation can be followed.\n  received: a "
    )
    assert text.endswith(
        ": the loss itself, computed already\n"
        "  expected: a function that computes the loss from the variables on, the forward pass included\n"
        "  fix:      write explain(lambda: loss_of(model(x), y), variables)"
    )


def test_a_loss_that_wants_arguments() -> None:
    weight = variable("w")
    with pytest.raises(FrostlineError) as caught:
        fl.explain(lambda y, predicted: ops.sum(weight), [weight])
    assert str(caught.value) == (
        "the loss function cannot be called as it is.\n"
        "  received: a function of (y, predicted)\n"
        "  expected: a function that takes no arguments\n"
        "  fix:      wrap it: lambda: loss_fn(x, y)"
    )


@pytest.mark.parametrize(("returned", "received"), [(None, "None"), ((1, 2), "a tuple"), ({}, "a dict")])
def test_a_function_that_returns_no_loss(returned: Any, received: str) -> None:
    weight = variable("w")
    with pytest.raises(FrostlineError) as caught:
        fl.explain(lambda: returned, [weight])
    assert str(caught.value) == (
        "the function returned no loss.\n"
        f"  received: {received}\n"
        "  expected: one scalar tensor\n"
        "  fix:      return the loss from the function, and nothing else"
    )


def test_no_variables() -> None:
    with pytest.raises(FrostlineError, match="there is no variable to explain"):
        fl.explain(lambda *_: ops.ones(()), [])


@pytest.mark.skipif(BACKEND == "jax", reason="on JAX that is a pytree")
def test_what_is_no_variable() -> None:
    with pytest.raises(FrostlineError) as caught:
        fl.explain(lambda: ops.ones(()), {"w": np.ones(3)})
    kinds = {
        "tensorflow": "a keras.Variable or tf.Variable",
        "torch": "a keras.Variable, torch.nn.Parameter or leaf torch.Tensor",
    }
    assert str(caught.value) == (
        "'w' is not a variable that gradients can be computed for.\n"
        "  received: a numpy.ndarray\n"
        f"  expected: {kinds[BACKEND]}\n"
        "  fix:      pass what the optimizer would update, such as model.trainable_variables"
    )


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_arrays_that_the_function_closes_over() -> None:
    array = ops.ones(3)
    with pytest.raises(FrostlineError) as caught:
        fl.explain(lambda: ops.sum(array), [array])
    assert str(caught.value) == (
        "the loss function cannot be called as it is.\n"
        "  received: a function of ()\n"
        "  expected: a function that takes the pytree of variables\n"
        "  fix:      wrap it: lambda tree: loss_fn(tree, x, y)"
    )


def test_units_that_are_alike_are_said_and_gradients_of_zero_have_a_cause_and_a_line() -> None:
    x = ops.convert_to_tensor(np.arange(12, dtype="float32").reshape(4, 3))
    alike = keras.Variable(np.full((3, 4), 0.1, "float32"), name="alike")
    off = keras.Variable(np.zeros(4, "float32"), name="off")

    def loss() -> Any:
        return ops.mean(ops.tanh(x @ alike)) + ops.mean(ops.relu(off - 1.0))

    answer = fl.explain(loss, [alike, off])
    assert (answer["alike"].status, answer["off"].status) == ("trains", "zero")
    assert "4 of 4 units begin with the same numbers and get equal gradients" in answer["alike"].note
    assert "4 of 4 units begin with the same numbers" in " ".join(str(answer).split())
    assert "relu hands back zeros" in answer["off"].note
    assert answer["off"].where is not None
    assert "ops.relu(off - 1.0)" in answer["off"].where.source


def test_the_line_at_which_a_number_is_not_finite_is_part_of_the_answer() -> None:
    weight = keras.Variable(np.zeros(3, "float32"), name="weight")
    answer = fl.explain(lambda: ops.sum(ops.sqrt(weight)), [weight])
    assert answer["weight"].where is not None
    assert "ops.sqrt(weight)" in answer["weight"].where.source
