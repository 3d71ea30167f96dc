"""Models of every structure, with the addresses that their weights must have, and the aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from frostline.model.inventory import inventory


class Holding(keras.Model):
    """A subclassed model that calls what it holds one after the other, in whatever it is held."""

    def __init__(self, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._chain = keras.tree.flatten(parts)

    def call(self, inputs: Any) -> Any:
        for layer in self._chain:
            inputs = layer(inputs)
        return inputs


class Holder(layers.Layer):
    """The same as a layer."""

    def __init__(self, parts: Any, name: str) -> None:
        super().__init__(name=name)
        self.parts = parts

    def build(self, shape: Any) -> None:
        for layer in keras.tree.flatten(self.parts):
            if not layer.built:
                layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def call(self, inputs: Any) -> Any:
        for layer in keras.tree.flatten(self.parts):
            inputs = layer(inputs)
        return inputs


class Projection(layers.Layer):
    """Projects onto the rows of an embedding's table, which is its own weight too."""

    def __init__(self, table: Any, name: str) -> None:
        super().__init__(name=name)
        self.table = table

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(inputs, keras.ops.transpose(self.table))


class Doubled(layers.Layer):
    """Makes two weights of one name, and a statistic."""

    def build(self, shape: Any) -> None:
        self.one = self.add_weight(shape=(shape[-1],), name="scale")
        self.other = self.add_weight(shape=(shape[-1],), name="scale")
        self.count = self.add_weight(shape=(), name="count", trainable=False)

    def call(self, inputs: Any) -> Any:
        return inputs * self.one + self.other


def dense(name: str | None, units: int = 4) -> Any:
    return layers.Dense(units, use_bias=False, name=name)


def series(*chain: Any) -> keras.Model:
    """A Functional model from three steps of four numbers, its root named by Keras."""
    inputs = value = keras.Input((3, 4), name="x")
    for layer in chain:
        value = layer(value)
    return keras.Model(inputs, value)


def called(model: keras.Model) -> keras.Model:
    """A subclassed model, built by its first call."""
    model(np.zeros((1, 4), "float32"))
    return model


def bidirectional() -> keras.Model:
    return series(layers.Bidirectional(layers.GRU(2, use_bias=False, name="gru"), name="both"))


def time_distributed() -> keras.Model:
    return series(layers.TimeDistributed(dense("inner"), name="each"))


def stacked_cells() -> keras.Model:
    cells = [layers.LSTMCell(2, use_bias=False, name="one"), layers.GRUCell(3, name="two")]
    return series(layers.RNN(layers.StackedRNNCells(cells, name="stack"), name="rnn"))


def attention() -> keras.Model:
    inputs = keras.Input((3, 4), name="x")
    attend = layers.MultiHeadAttention(2, 2, dropout=0.1, name="mha")
    return keras.Model(inputs, attend(inputs, inputs))


def einsum_dense() -> keras.Model:
    return series(layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", name="einsum"))


def tied_weights() -> keras.Model:
    tokens = keras.Input((3,), dtype="int32", name="ids")
    embedding = layers.Embedding(7, 4, name="tokens")
    value = embedding(tokens)
    return keras.Model(tokens, Projection(embedding.embeddings, name="logits")(value))


def shared_layer() -> keras.Model:
    """`common` lies in both submodels, and `left` in the root and in `pair`."""
    common = dense("common")
    sides = []
    for name in ("left", "right"):
        inputs = keras.Input((4,), name="x")
        sides.append(keras.Model(inputs, common(dense(f"own_{name}")(inputs)), name=name))
    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, Holder([*sides], name="pair")(sides[0](inputs)))


def in_lists_and_dicts() -> keras.Model:
    parts = {
        "listed": [dense("a"), dense("b")],
        "keyed": {"first": dense("c"), "second": [dense("d")]},
    }
    return called(Holding(**parts, single=dense("e")))


def same_named_siblings() -> keras.Model:
    return called(Holding(blocks=[dense("block"), dense("block"), dense("block")], last=dense("block")))


def nested_subclassed() -> keras.Model:
    inner = Holder(
        [Holder({"a": dense("dense"), "b": layers.BatchNormalization(name="norm")}, "deep")], "outer"
    )
    return called(Holding(body=inner, head=dense("head", 2)))


def weights_of_one_name() -> keras.Model:
    return called(Holding(doubled=Doubled(name="doubled")))


def sequential() -> keras.Model:
    inner = keras.Sequential([dense("a"), layers.Dropout(0.5, name="drop"), dense("b")], name="inner")
    return keras.Sequential([keras.Input((4,), name="x"), inner, dense("head")])


STRUCTURES: dict[Callable[[], keras.Model], dict[str, tuple[str, ...]]] = {
    bidirectional: {
        "both/forward_gru/gru_cell/kernel": (),
        "both/forward_gru/gru_cell/recurrent_kernel": (),
        "both/backward_gru/gru_cell/kernel": (),
        "both/backward_gru/gru_cell/recurrent_kernel": (),
    },
    time_distributed: {"each/inner/kernel": ()},
    stacked_cells: {
        "rnn/stack/one/kernel": (),
        "rnn/stack/one/recurrent_kernel": (),
        "rnn/stack/two/kernel": (),
        "rnn/stack/two/recurrent_kernel": (),
        "rnn/stack/two/bias": (),
    },
    attention: {
        f"mha/{part}/{name}": ()
        for part in ("query", "key", "value", "attention_output")
        for name in ("kernel", "bias")
    },
    einsum_dense: {"einsum/kernel": (), "einsum/bias": ()},
    tied_weights: {"tokens/embeddings": ("logits/embeddings",)},
    shared_layer: {
        "left/own_left/kernel": ("pair/left/own_left/kernel",),
        "left/common/kernel": ("pair/left/common/kernel", "pair/right/common/kernel"),
        "pair/right/own_right/kernel": (),
    },
    in_lists_and_dicts: {f"{name}/kernel": () for name in "abcde"},
    same_named_siblings: {
        "block/kernel": (),
        "block#2/kernel": (),
        "block#3/kernel": (),
        "block#4/kernel": (),
    },
    nested_subclassed: {
        "outer/deep/dense/kernel": (),
        "outer/deep/norm/gamma": (),
        "outer/deep/norm/beta": (),
        "outer/deep/norm/moving_mean": (),
        "outer/deep/norm/moving_variance": (),
        "head/kernel": (),
    },
    weights_of_one_name: {"doubled/scale": (), "doubled/scale#2": (), "doubled/count": ()},
    sequential: {"inner/a/kernel": (), "inner/b/kernel": (), "head/kernel": ()},
}


def addresses(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """The aliases of each weight and statistic, by address."""
    return {w.address: w.aliases for w in inventory(model).of_role("weight", "statistic")}


def all_addresses() -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    return {build.__name__: [*addresses(build()).items()] for build in STRUCTURES}
