"""Models and arguments that no table can be grown with: the full text, and the model as it was."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from helpers.checks import values
from helpers.growing_models import (
    GIVEN,
    NEW,
    WORDS,
    bare,
    functional,
    ids,
    made,
    nested,
    sequential,
)

pytestmark = pytest.mark.eager


def refused(model: keras.Model, address: str = "tokens/embeddings", **arguments: Any) -> str:
    before = values(model)
    with pytest.raises(fl.FrostlineError) as caught:
        fl.grow_embedding(model, address, **{"rows": NEW} | arguments)
    assert [v.tobytes() for v in values(model).values()] == [v.tobytes() for v in before.values()]
    return str(caught.value)


def test_a_wrong_address() -> None:
    assert refused(made(sequential), "token/embedings") == (
        "the model 'sequential' has no weight 'token/embedings'.\n"
        "  expected: the address of a table with one row for each entry of the vocabulary\n"
        "  fix:      did you mean tokens/embeddings?"
    )
    assert refused(made(sequential), "head/bias") == (
        "'head/bias' is not a table of trainable rows.\n"
        "  received: a weight of shape (2,), float32\n"
        "  expected: a weight with one row for each entry of the vocabulary, of floating-point numbers"
    )


def test_a_weight_whose_rows_are_no_setting() -> None:
    assert refused(made(sequential), "head/kernel") == (
        "no setting of 'head' could be raised from 4 to 7.\n"
        "  received: no setting with the value 4\n"
        "  expected: a setting such as input_dim= that sets the number of rows of the table and nothing "
        "else\n"
        "  fix:      pass an output layer that has its own weights as head=, or pass build=, a function of "
        "the new number of rows that returns a new, built model"
    )


@pytest.mark.parametrize("rows", [0, -1, True, 2.0, "3"])
def test_a_number_of_rows_that_is_none(rows: Any) -> None:
    assert refused(made(sequential), rows=rows) == (
        f"rows must be the number of new rows.\n  received: {rows!r}\n  expected: a whole number from 1 up"
    )


@pytest.mark.parametrize(
    ("initializer", "text"),
    [
        (
            "men",
            "unknown initializer.\n  received: 'men'\n  expected: 'mean', 'zeros', an initializer "
            "of Keras, an array of the new rows, or ids of pieces",
        ),
        (
            [[1], [2]],
            "pieces are given for 2 new rows, but 3 rows are new.\n"
            "  expected: one list of ids of old rows for each new one",
        ),
        (
            [[1], [], [2]],
            "the pieces of new row 1 are not ids of old rows.\n  received: []\n"
            "  expected: at least one id, such as [101, 7592]",
        ),
        (
            [[1], [2], [9]],
            "a piece of new row 2 is not an old row.\n  received: id 9\n  expected: ids from 0 to 8",
        ),
        (
            lambda row: [-1],
            "a piece of new row 0 is not an old row.\n  received: id -1\n  expected: ids from 0 to 8",
        ),
        (
            GIVEN[:2],
            "invalid initializer.\n  received: dtype float32, shape (2, 4)\n"
            "  expected: an array of floating-point numbers of shape (3, 4), "
            "or one of the other initializers",
        ),
        (
            GIVEN.astype("int32"),
            "invalid initializer.\n  received: dtype int32, shape (3, 4)\n"
            "  expected: an array of floating-point numbers of shape (3, 4), "
            "or one of the other initializers\n"
            "  fix:      give ids of pieces as lists: ids.tolist()",
        ),
        (np.where(GIVEN == 5, np.nan, GIVEN), "new row 1 holds a number that is not finite."),
        (
            None,
            "invalid initializer.\n  received: a NoneType\n"
            "  expected: an array of floating-point numbers of shape (3, 4), "
            "or one of the other initializers",
        ),
    ],
    ids=["name", "too few", "empty", "range", "negative", "shape", "dtype", "nan", "none"],
)
def test_initializers_that_do_not_fit(initializer: Any, text: str) -> None:
    assert refused(made(sequential), initializer=initializer) == text


def test_a_head_that_is_none() -> None:
    assert refused(made(functional), head="rnn").startswith(
        "no setting of 'tokens' and 'rnn' could be raised"
    )
    assert refused(made(functional), head="hed") == (
        "the model 'functional' has no layer 'hed'.\n"
        "  expected: the address of a layer, or a name that only one layer has\n"
        "  fix:      did you mean head?"
    )


def test_a_model_without_a_configuration() -> None:
    model = made(bare)
    assert refused(model) == (
        f"the model {model.name!r} cannot be rebuilt: it has no complete configuration.\n"
        "  received: no config\n"
        "  fix:      give its classes a get_config, which saving needs too; or pass build=, a function "
        "of the new number of rows that returns a new, built model"
    )


def test_a_setting_changed_by_hand_that_the_configuration_knows_of() -> None:
    model = made(functional)
    model.get_layer("head").activation = keras.activations.tanh
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW)
    model.predict_function = None
    x = ids(WORDS)
    assert larger.predict(x, verbose=0).tobytes() == model.predict(x, verbose=0).tobytes()


def test_what_was_set_by_hand_beside_the_configuration() -> None:
    model = made(nested)
    front = model.get_layer("encoder").get_layer("front")
    front.factor = 2.0
    front.call = lambda numbers: front.factor * type(front).call(front, numbers)
    assert refused(model, "encoder/front/word/embeddings") == (
        "get_config of 'encoder/front' omits some settings.\n"
        "  received: factor, call, changed on the layer after it was created\n"
        "  expected: a get_config that returns every setting; saving loses these too\n"
        "  fix:      let get_config return it, or pass build=, a function of the new number of rows that "
        "returns a new, built model"
    )


def test_layers_that_are_something_else_already() -> None:
    quantized = made(sequential)
    quantized.get_layer("tokens").quantize("int8")
    assert refused(quantized) == (
        "'tokens/embeddings' is not a table of trainable rows.\n"
        "  received: a statistic of shape (9, 4), int8\n"
        "  expected: a weight with one row for each entry of the vocabulary, of floating-point numbers"
    )
    adapted = made(sequential)
    adapted.get_layer("tokens").enable_lora(2)
    assert refused(adapted) == (
        "'tokens/embeddings' belongs to a layer with an adapter of Keras's own (enable_lora).\n"
        "  fix:      grow first, then add adapters; fl.LowRank can be removed again"
    )
    parametrized = made(sequential)
    fl.parametrize(parametrized, "head/kernel", fl.Rows([1]))
    assert refused(parametrized) == (
        "the model has parametrized weights, which a configuration does not include.\n"
        "  received: head/kernel\n"
        "  fix:      call fl.merge(model) first, or remove() what fl.parametrize returned"
    )
