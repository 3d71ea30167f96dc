"""What tests of plans with elements share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers

import frostline as fl
from helpers.checks import (
    every_call,
    every_flag,
    optimizer_state,
    same_arrays,
    values,
)

KERNEL = "a/kernel"
"""4 x 3."""


def words() -> keras.Model:
    """Embedding `tokens` (20 x 6), Dense `mid` and `head`."""
    keras.utils.set_random_seed(5)
    ids = keras.Input((4,), dtype="int32", name="ids")
    value = layers.Flatten()(layers.Embedding(20, 6, name="tokens")(ids))
    value = layers.Dense(8, name="mid")(value)
    return keras.Model(ids, layers.Dense(2, name="head")(value), name="words")


def trained_shapes(model: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(v.shape) for v in model.trainable_variables]


PLAN = (
    fl.Plan()
    .train("tokens/embeddings", rows="18:")
    .train("tokens/embeddings", rows=[3, 4])
    .train("mid/kernel", via=fl.LowRank(rank=2, alpha=4))
    .train("head/**")
    .freeze("head/kernel", columns=0)
)


def refused(model: keras.Model, act: Callable[[], Any], error: type[Exception]) -> str:
    """The message of what fails; the model is as before."""
    before = values(model), every_flag(model), every_call(model), optimizer_state(model)
    variables = [id(v) for v in model.trainable_variables]
    with pytest.raises(error) as caught:
        act()
    now = values(model), every_flag(model), every_call(model), optimizer_state(model)
    assert {a: v.tobytes() for a, v in now[0].items()} == {a: v.tobytes() for a, v in before[0].items()}
    assert now[1:3] == before[1:3]
    assert same_arrays(now[3], before[3])
    assert [id(v) for v in model.trainable_variables] == variables
    return str(caught.value)
