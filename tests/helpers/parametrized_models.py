"""One network with every parametrization in it, and the same with all trained elements split off by hand.

Import as `from helpers.parametrized_models import network`. The reference layers hold the trained elements
in a variable of their own and put the weight together by a product with a placement matrix of zeros and
ones: no code of Frostline's runs in them.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import frostline as fl

WORDS, LENGTH, WIDTH, OUTPUTS, SAMPLES = 12, 6, 8, 3, 8

MASK = np.random.default_rng(5).random((WIDTH, WIDTH)) < 0.4

HOW: dict[str, fl.Parametrization] = {
    "words": fl.Rows([1, 5, 11]),
    "conv": fl.Columns(slice(2, 5)),
    "einsum": fl.Columns([0, 3, 7]),
    "columns": fl.Columns([1, 6]),
    "rows": fl.Rows(slice(1, 4)),
    "block": fl.Index((slice(0, 8, 3), slice(2, 6))),
    "mask": fl.Mask(MASK),
    "low": fl.LowRank(rank=2, alpha=4, seed=3),
    "scale": fl.Scale(),
}
"""How the one weight of each layer is parametrized."""

PATHS = {"words": "lookup", "conv": "columns", "einsum": "columns", "columns": "columns"}
"""The layers with a fast path."""

NAMES = {"words": "embeddings"}

Op = Callable[[Any, Any], Any]


def address(layer: str) -> str:
    """The address of the weight of a layer."""
    return f"{layer}/{NAMES.get(layer, 'kernel')}"


def elements_of(layer: str) -> np.ndarray:
    """Which elements of the weight of a layer train, as a mask."""
    shape = SHAPES[layer]
    index: dict[str, Any] = {
        "words": ([1, 5, 11],),
        "conv": (slice(None), slice(None), slice(2, 5)),
        "einsum": (slice(None), [0, 3, 7]),
        "columns": (slice(None), [1, 6]),
        "rows": (slice(1, 4),),
        "block": (slice(0, 8, 3), slice(2, 6)),
        "mask": (MASK,),
    }
    chosen = np.zeros(shape, bool)
    chosen[index[layer]] = True
    return chosen


SHAPES = {"words": (WORDS, WIDTH), "conv": (3, WIDTH, WIDTH)} | {
    name: (WIDTH, WIDTH) for name in HOW if name not in ("words", "conv")
}

OPS: dict[str, Op] = {
    "words": lambda ids, table: ops.take(table, ids, axis=0),
    "conv": lambda x, kernel: ops.conv(x, kernel, padding="same"),
} | {name: (lambda x, kernel: ops.matmul(x, kernel)) for name in HOW if name not in ("words", "conv")}


class SplitByHand(layers.Layer):
    """An operation with a kernel whose trained elements are a variable of their own."""

    def __init__(self, op: Op, value: np.ndarray, chosen: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.op, self.first, self.chosen = op, value, chosen

    def build(self, input_shape: Any) -> None:
        frozen = np.where(self.chosen, 0, self.first)
        trained = self.first[self.chosen]
        self.placement = np.eye(self.first.size, dtype="float32")[np.flatnonzero(self.chosen)]
        self.frozen = self.add_weight(shape=frozen.shape, trainable=False, name="frozen")
        self.frozen.assign(frozen)
        self.part = self.add_weight(shape=trained.shape, name="part")
        self.part.assign(trained)

    def call(self, inputs: Any) -> Any:
        placed = ops.matmul(ops.expand_dims(self.part, 0), self.placement)
        return self.op(inputs, self.frozen + ops.reshape(placed, self.first.shape))

    def values(self) -> dict[str, np.ndarray]:
        whole = self.first.copy()
        whole[self.chosen] = numpy(self.part)
        return {"whole": whole}


class AdaptedByHand(layers.Layer):
    """A matrix product with a matrix to which the product of two of low rank is added.

    Beside it, as `x @ a @ b`, the sums of the gradients would run in another order: test_numbers_peft.py.
    """

    def __init__(self, value: np.ndarray, a: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first, self.first_a = value, a

    def build(self, input_shape: Any) -> None:
        self.frozen = self.add_weight(shape=self.first.shape, trainable=False, name="frozen")
        self.frozen.assign(self.first)
        self.a = self.add_weight(shape=self.first_a.shape, name="a")
        self.a.assign(self.first_a)
        self.b = self.add_weight(shape=(2, WIDTH), initializer="zeros", name="b")

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, self.frozen + 2.0 * ops.matmul(self.a, self.b))

    def values(self) -> dict[str, np.ndarray]:
        return {"lora_a": numpy(self.a), "lora_b": numpy(self.b)}


class ScaledByHand(layers.Layer):
    """A matrix product whose outputs are scaled."""

    def __init__(self, value: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = value

    def build(self, input_shape: Any) -> None:
        self.frozen = self.add_weight(shape=self.first.shape, trainable=False, name="frozen")
        self.frozen.assign(self.first)
        self.scale = self.add_weight(shape=(WIDTH,), initializer="ones", name="scale")

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, self.frozen) * self.scale

    def values(self) -> dict[str, np.ndarray]:
        return {"scale": numpy(self.scale)}


def plain_layer(name: str) -> layers.Layer:
    """The layer of Keras with this name in the network."""
    match name:
        case "words":
            normal = keras.initializers.RandomNormal(stddev=0.5)
            return layers.Embedding(WORDS, WIDTH, embeddings_initializer=normal, name=name)
        case "conv":
            return layers.Conv1D(WIDTH, 3, padding="same", use_bias=False, name=name)
        case "einsum":
            return layers.EinsumDense("abc,cd->abd", (LENGTH, WIDTH), name=name)
        case _:
            return layers.Dense(WIDTH, use_bias=False, name=name)


def assembled(make: Callable[[str], layers.Layer]) -> keras.Model:
    """The network: every layer adds to what the ones before it give, so that gradients reach all alike."""
    ids = keras.Input((LENGTH,), dtype="int32")
    value = make("words")(ids)
    for name in HOW:
        if name != "words":
            value = value + ops.tanh(make(name)(value))
    return keras.Model(ids, layers.Dense(OUTPUTS, trainable=False, name="out")(value), name="zoo")


def plain_network() -> keras.Model:
    """The network as Keras has it."""
    keras.utils.set_random_seed(7)
    return assembled(plain_layer)


def network() -> keras.Model:
    """The network with every weight parametrized."""
    model = plain_network()
    for name, how in HOW.items():
        fl.parametrize(model, address(name), how)
    return model


def network_by_hand(like: keras.Model) -> keras.Model:
    """The network of the reference layers, with the values that a parametrized one has now."""
    held = fl.inventory(like).by_address

    def make(name: str) -> layers.Layer:
        weight = held[address(name)]
        value = weight.numpy()
        if name == "low":
            return AdaptedByHand(value, numpy(weight.combination.parts["lora_a"]), name=name)
        if name == "scale":
            return ScaledByHand(value, name=name)
        return SplitByHand(OPS[name], value, elements_of(name), name=name)

    model = assembled(make)
    model.get_layer("out").set_weights(like.get_layer("out").get_weights())
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    """Ids and targets, the same at every call."""
    rng = np.random.default_rng(3)
    x = rng.permutation(np.arange(SAMPLES * LENGTH) % WORDS).reshape(SAMPLES, LENGTH).astype("int32")
    return x, rng.normal(size=(SAMPLES, LENGTH, OUTPUTS)).astype("float32")


def train(model: keras.Model, optimizer: Any, epochs: int = 3) -> keras.Model:
    """Two steps of plain `fit` an epoch."""
    model.compile(optimizer, "mse")
    model.fit(*data(), batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    return model


def numpy(variable: Any) -> np.ndarray:
    """A copy of the value of a variable."""
    return ops.convert_to_numpy(variable).copy()
