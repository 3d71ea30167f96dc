"""`fl.intermediates` and `fl.what_if`: the gradient at the outputs of layers, and what stopping it does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.errors import ModelError
from helpers.checks import values
from helpers.small_models import compiled, data_for


def branches() -> keras.Model:
    """Dense `a`, frozen Dense `b`, whose output goes to `head` directly and, stopped, by Dense `side`."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, activation="tanh", name="a")(inputs)
    frozen = keras.layers.Dense(3, name="b", trainable=False)(hidden)
    side = keras.layers.Dense(3, name="side")(ops.stop_gradient(frozen))
    return compiled(keras.Model(inputs, keras.layers.Dense(2, name="head")(frozen + side), name="branches"))


def seen() -> Any:
    model = branches()
    return fl.intermediates(model, *data_for(model))


def test_each_layer_that_is_called_has_a_row() -> None:
    assert [row.layer for row in seen()] == ["a", "b", "side", "head"]
    assert seen()["a"].shape == (8, 3)


def test_a_gradient_flows_to_the_weights_below() -> None:
    table = seen()
    assert all(row.flows for row in table)
    assert table["a"].weights == ("a/kernel", "a/bias")
    assert table["b"].weights == ("a/kernel", "a/bias")
    assert table["side"].weights == ("side/kernel", "side/bias")
    trained = ("a", "side", "head")
    assert set(table["head"].weights) == {f"{a}/{w}" for a in trained for w in ("kernel", "bias")}


def test_nothing_flows_through_what_only_frozen_weights_feed() -> None:
    model = branches()
    table = fl.intermediates(model, *data_for(model), plan=fl.Plan().train("head/**"))
    assert [row.layer for row in table if row.flows] == ["head"]
    assert [row.kept_bytes for row in table] == [0, 0, 0, 8 * 2 * 4]


def test_norms_are_those_of_the_gradient_by_the_output() -> None:
    model = branches()
    x, y = data_for(model)
    predicted = model.predict(x, verbose=0)
    by_output = 2 * (predicted - y) / y.size
    table = fl.intermediates(model, x, y)
    assert table["head"].gradient_norm == pytest.approx(np.linalg.norm(by_output), rel=1e-4)
    kernel = ops.convert_to_numpy(model.get_layer("head").kernel)
    assert table["side"].gradient_norm == pytest.approx(np.linalg.norm(by_output @ kernel.T), rel=1e-4)
    # The way over `side` is stopped, so only the direct way counts.
    assert table["b"].gradient_norm == pytest.approx(np.linalg.norm(by_output @ kernel.T), rel=1e-4)


def test_stopping_starves_what_lies_below() -> None:
    model = branches()
    x, y = data_for(model)
    assert fl.what_if(model, x, y, block="b").starved == ("a/kernel", "a/bias")
    assert fl.what_if(model, x, y, block="side").starved == ("side/kernel", "side/bias")
    whole = fl.what_if(model, x, y, block="head")
    assert len(whole.starved) == 6
    assert whole.saved_operations > fl.what_if(model, x, y, block="b").saved_operations > 0
    assert 0 < fl.what_if(model, x, y, block="b").saved_bytes <= whole.kept_bytes


def test_they_leave_the_model_as_it_was() -> None:
    model = branches()
    before = values(model)
    fl.intermediates(model, *data_for(model))
    fl.what_if(model, *data_for(model), block="a")
    after = values(model)
    assert all(np.array_equal(before[address], after[address]) for address in before)
    assert not model.optimizer.built or int(ops.convert_to_numpy(model.optimizer.iterations)) == 0


def test_a_block_that_is_not_there_is_named() -> None:
    model = branches()
    with pytest.raises(ModelError) as caught:
        fl.what_if(model, *data_for(model), block="heda")
    assert str(caught.value) == (
        "the model 'branches' has no layer 'heda'.\n"
        "  expected: the address of a layer, or a name that only one layer has\n"
        "  fix:      did you mean head?"
    )


def test_it_prints_as_a_short_paragraph() -> None:
    model = branches()
    lines = str(fl.what_if(model, *data_for(model), block="b")).splitlines()
    assert lines[0] == "with the gradient stopped at the output of 'b'"
    assert lines[1] == "  would get no gradient: a/kernel, a/bias"
    assert lines[2].startswith("  backward operations saved: ")
    assert lines[3].startswith("  kept for the backward pass: 96 B less of ")


def test_masks_and_sequences_pass_the_probes() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,), dtype="int32")
    rows = keras.layers.Embedding(7, 4, mask_zero=True, name="embed")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(keras.layers.LSTM(3, name="lstm")(rows)))
    compiled(model)
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]], "int32")
    y = np.zeros((2, 1), "float32")
    table = fl.intermediates(model, x, y)
    assert {row.layer for row in table} >= {"embed", "lstm", "head"}
    assert all(table[layer].flows for layer in ("embed", "lstm", "head"))
    plain = fl.audit(model, x, y)
    assert plain.loss == pytest.approx(float(model.evaluate(x, y, verbose=0)), rel=1e-4)


@pytest.mark.parametrize("how", [fl.Rows([0]), fl.LowRank(1)], ids=["rows", "low rank"])
def test_a_weight_made_of_parts_goes_by_its_own_address(how: fl.Parametrization) -> None:
    """Its parts are what the graph knows; without a plan, these are what trains."""
    model = branches()
    plain = fl.intermediates(model, *data_for(model))
    fl.parametrize(model, "a/kernel", how)
    table = fl.intermediates(model, *data_for(model))
    assert [row.weights for row in table] == [row.weights for row in plain]
    assert table["a"].kept_bytes == plain["a"].kept_bytes > 0
    starved = fl.what_if(model, *data_for(model), block="b").starved
    assert starved == ("a/kernel", "a/bias")
