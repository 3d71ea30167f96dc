"""What new rows start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from helpers.growing_models import (
    GIVEN,
    NEW,
    WIDTH,
    WORDS,
    made,
    sequential,
    table_of,
)

pytestmark = pytest.mark.eager


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        ("mean", lambda old: np.tile(old.astype("float64").mean(axis=0), (NEW, 1))),
        ("zeros", lambda old: np.zeros((NEW, WIDTH))),
        ("ones", lambda old: np.ones((NEW, WIDTH))),
        (keras.initializers.Constant(0.5), lambda old: np.full((NEW, WIDTH), 0.5)),
        (GIVEN, lambda old: GIVEN),
        (GIVEN.tolist(), lambda old: GIVEN),
        (GIVEN.astype("float64"), lambda old: GIVEN),
        (ops.convert_to_tensor(GIVEN), lambda old: GIVEN),
        ([[8], [0, 1], [2, 2]], lambda old: np.stack([old[8], old[:2].mean(axis=0), old[2]])),
        (lambda row: [row, row + 1], lambda old: (old[:NEW] + old[1 : NEW + 1]) / 2),
        (lambda row: np.array([row]), lambda old: old[:NEW]),
    ],
    ids=["mean", "zeros", "ones", "keras", "array", "list", "float64", "tensor", "pieces", "function", "ids"],
)
def test_initializers(initializer: Any, expected: Callable[[np.ndarray], np.ndarray]) -> None:
    model = made(sequential)
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, initializer=initializer)
    old, new = table_of(model).numpy(), table_of(larger).numpy()
    np.testing.assert_allclose(new[WORDS:], expected(old), rtol=1e-6)


def test_an_initializer_with_a_spread_draws_rows_of_the_whole_table() -> None:
    """The variance of Glorot's depends on the size: three rows on their own would be far wider."""
    model = keras.Sequential([keras.Input((3,)), layers.Embedding(3000, WIDTH, name="tokens")])
    drawn = keras.initializers.GlorotUniform(seed=1)
    larger, _ = fl.grow_embedding(model, "tokens/embeddings", rows=NEW, initializer=drawn)
    new = table_of(larger).numpy()[3000:]
    limit = np.sqrt(6 / (3003 + WIDTH))
    assert 0.3 * limit < np.abs(new).max() <= limit
