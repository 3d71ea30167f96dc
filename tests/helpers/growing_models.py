"""Models with a table of tokens, in every way to build one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import frostline as fl

WORDS, WIDTH, LENGTH, NEW = 9, 4, 5, 3
Make = Callable[[], keras.Model]


def functional() -> keras.Model:
    """Padding is masked; the table goes through a recurrent layer that heeds the mask."""
    ids = keras.Input((LENGTH,), dtype="int32")
    hidden = layers.Embedding(WORDS, WIDTH, mask_zero=True, name="tokens")(ids)
    hidden = layers.SimpleRNN(WIDTH, name="rnn")(hidden)
    return keras.Model(ids, layers.Dense(2, name="head")(hidden), name="functional")


def sequential() -> keras.Model:
    """Batch normalization, so that statistics are carried over too."""
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(WORDS, WIDTH, name="tokens"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling1D(name="pool"),
            layers.Dense(2, name="head"),
        ],
        name="sequential",
    )


@keras.saving.register_keras_serializable("frostline_growing")
class Front(layers.Layer):
    """A layer that makes its table itself, from a setting with a name of its own."""

    def __init__(self, entries: int, heads: int = WORDS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entries, self.heads, self.factor = entries, heads, 1.0
        self.word = layers.Embedding(entries, WIDTH, name="word")

    def build(self, input_shape: Any) -> None:
        self.word.build(input_shape)
        self.built = True

    def call(self, ids: Any) -> Any:
        return ops.mean(self.word(ids), axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "entries": self.entries, "heads": self.heads}


def nested() -> keras.Model:
    """A custom layer inside a nested model; another of its settings has the same number by chance."""
    ids = keras.Input((LENGTH,), dtype="int32")
    inner = keras.Model(ids, Front(WORDS, name="front")(ids), name="encoder")
    outer = keras.Input((LENGTH,), dtype="int32")
    return keras.Model(outer, layers.Dense(2, name="head")(inner(outer)), name="nested")


def made(make: Make) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = make()
    for weight in fl.inventory(model).of_role("weight", "statistic"):
        weight.variable.assign(weight.numpy() + 0.25)
    return model


def table_of(model: keras.Model) -> fl.Weight:
    return next(w for w in fl.inventory(model) if w.name == "embeddings")


def ids(most: int, samples: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, (samples, LENGTH)).astype("int32")


GIVEN = np.arange(NEW * WIDTH, dtype="float32").reshape(NEW, WIDTH)


class Bare(keras.Model):
    """Has no configuration: its argument is not a plain value."""

    def __init__(self, table: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def call(self, numbers: Any) -> Any:
        return self.table(numbers)

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("no config")


def bare(rows: int = WORDS) -> keras.Model:
    model = Bare(layers.Embedding(rows, WIDTH, name="tokens"))
    model(np.zeros((1, LENGTH), "int32"))
    return model
