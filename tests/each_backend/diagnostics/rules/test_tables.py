"""FL304 knows a table by its rows being looked up, whatever looks them up."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from helpers.checks import first_on_each

IDS, Y = np.array([[1, 2], [1, 3]] * 2, "int32"), np.zeros((4, 2), "float32")


class Subclassed(layers.Embedding):
    pass


class Table(layers.Layer):
    """Looks rows of a weight up in some way."""

    def __init__(self, look_up: Any, shape: Any = (20, 3), **options: Any) -> None:
        super().__init__(**options)
        self.look_up, self.shape = look_up, shape

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=self.shape, name="table")

    def call(self, ids: Any) -> Any:
        return self.look_up(ops.convert_to_tensor(self.table), ids)


class Tied(layers.Embedding):
    """Also gives logits, as KerasHub's ReversibleEmbedding does."""

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        return ops.matmul(inputs, ops.transpose(self.embeddings)) if reverse else super().call(inputs)


TABLES = {
    "take": lambda: Table(lambda t, ids: ops.take(t, ids, axis=0)),
    "embedding": lambda: layers.Embedding(20, 3),
    "subclass": lambda: Subclassed(20, 3),
    "tied": lambda: Tied(20, 3),
    "on its side": lambda: Table(lambda t, ids: ops.transpose(ops.take(t, ids, axis=1), (1, 2, 0)), (3, 20)),
    "cast": lambda: Table(lambda t, ids: ops.take(ops.cast(t, "bfloat16"), ids, axis=0)),
    "scaled": lambda: Table(lambda t, ids: ops.take(t * 2.0, ids, axis=0)),
    "deep": lambda: Table(lambda t, ids: ops.reshape(ops.take(t, ids, axis=0), (-1, 2, 4)), (20, 2, 2)),
    "numbers": lambda: Table(lambda t, ids: ops.expand_dims(ops.take(t, ids, axis=0), -1), (20,)),
    "pretrained": lambda: fl.layers.PretrainedEmbedding(np.ones((20, 3), "float32"), train=True),
}


def found(table: Any, optimizer: Any, plan: Any = None) -> list[Any]:
    table.name = "table"
    x = keras.Input((2,), dtype="int32")
    model = keras.Model(x, layers.Dense(2, name="head")(layers.Flatten()(table(x))))
    model.compile(optimizer, "mse")
    return [one for one in fl.audit(model, IDS, Y, plan=plan).findings if one.code == "FL304"]


@pytest.mark.parametrize("name", first_on_each(TABLES))
def test_rows_that_shrink_without_a_gradient_are_found_and_the_remedy_helps(name: str) -> None:
    (finding,) = found(TABLES[name](), keras.optimizers.AdamW(weight_decay=0.1))
    assert "17 of its 20 rows get no gradient" in finding.fact
    mended = fl.Plan(default="train").train(finding.address, decay=0)
    assert not found(TABLES[name](), keras.optimizers.AdamW(weight_decay=0.1), mended)


def test_any_optimizer_that_decays_is_seen() -> None:
    for optimizer in (keras.optimizers.SGD(weight_decay=0.1), keras.optimizers.Lion(weight_decay=0.1)):
        assert found(TABLES["take"](), optimizer)


def test_without_decay_there_is_nothing_to_say() -> None:
    assert not found(TABLES["take"](), keras.optimizers.AdamW(weight_decay=0.0))


def test_a_kernel_with_empty_inputs_is_no_table() -> None:
    model = keras.Sequential([keras.Input((20,)), layers.Dense(2, name="head")])
    model.compile(keras.optimizers.AdamW(weight_decay=0.1), "mse")
    x = np.zeros((4, 20), "float32")
    x[:, 0] = 1.0
    assert "FL304" not in {one.code for one in fl.audit(model, x, Y).findings}
