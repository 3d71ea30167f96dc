"""One plan on many real architectures, and the addresses of every way in which Keras nests layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from frostline.model.inventory import inventory

BACKEND = keras.backend.backend()
CLASSES = 5


@pytest.fixture(autouse=True)
def _memory_freed() -> Any:
    yield
    keras.utils.clear_session()


# --- Keras applications -----------------------------------------------------------------------

SIDES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "Xception": 71,
}
"""The smallest square input that each takes."""

TRAINED = ("ResNet50V2", "VGG16") if BACKEND == "jax" else ("MobileNetV2", "ResNet50V2", "VGG16")
"""Depthwise convolutions are very slow on JAX's CPU backend."""


def application(name: str) -> keras.Model:
    if name == "NASNetMobile" and BACKEND == "torch":
        pytest.skip("Keras does not offer NASNetMobile on PyTorch")
    side = SIDES[name]
    build = getattr(keras.applications, name)
    return build(weights=None, input_shape=(side, side, 3), classes=CLASSES)


def state(model: keras.Model) -> list[Any]:
    """All that a plan may change on the layers and weights of a model."""
    held = inventory(model)
    flags = [(n.address, n.layer.trainable, vars(n.layer).get("call")) for n in held.layers]
    return [flags, [(w.address, w.variable.trainable) for w in held]]


@pytest.fixture
def _zeros_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not draw millions of random numbers that nobody looks at; on JAX each shape would be compiled."""

    def zeros(_: Any, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(np.zeros(shape, dtype or "float32"))

    for initializer in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        monkeypatch.setattr(initializer, "__call__", zeros)


@pytest.mark.usefixtures("_zeros_at_start")
@pytest.mark.parametrize("name", sorted(SIDES))
def test_linear_probe_trains_exactly_the_head(name: str) -> None:
    model = application(name)
    before, head = state(model), [layer for layer in model.layers if layer.weights][-1]
    statistics = inventory(model).of_role("statistic")
    with fl.applied(model, fl.linear_probe()) as resolution:
        assert [v.path for v in model.trainable_variables] == [head.kernel.path, head.bias.path]
        assert [d.weight.variable for d in resolution.trained] == [head.kernel, head.bias]
        assert not any(d.trains for d in resolution.statistics)
        assert len(resolution.statistics) == len(statistics)
    assert state(model) == before


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step_moves_the_head_alone(name: str) -> None:
    model = application(name)
    model.compile(keras.optimizers.AdamW(0.01), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, SIDES[name], SIDES[name], 3)).astype("float32")
    before = fl.fingerprint(model)
    run = fl.fit(model, fl.linear_probe(), x, np.arange(4), batch_size=4, verbose=0)
    after = fl.verify(model, before, fl.linear_probe())
    assert after.ok
    assert after.findings == run.verification.findings
    assert after.of("trained") == ("predictions/kernel", "predictions/bias")
    assert not after.of("moved", "changed", "unmoved", "missing")


# --- structures -------------------------------------------------------------------------------


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

structures = pytest.mark.parametrize("build", STRUCTURES, ids=lambda build: build.__name__)


def addresses(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """The aliases of each weight and statistic, by address."""
    return {w.address: w.aliases for w in inventory(model).of_role("weight", "statistic")}


@structures
def test_addresses_are_these(build: Callable[[], keras.Model]) -> None:
    model = build()
    assert addresses(model) == STRUCTURES[build]
    every = [a for w in inventory(model) for a in w.addresses]
    assert len(every) == len(set(every))
    assert {id(w.variable) for w in inventory(model)} == {id(v) for v in model.variables}


@structures
def test_addresses_do_not_depend_on_the_name_of_the_root(build: Callable[[], keras.Model]) -> None:
    first, second = build(), build()  # Keras numbers the second
    second.name = "something/else"
    assert first.name != second.name
    assert addresses(first) == addresses(second)


@structures
def test_every_alias_picks_the_weight(build: Callable[[], keras.Model]) -> None:
    model = build()
    for weight in inventory(model).of_role("weight"):
        for address in weight.addresses:
            trained = fl.Plan().train(address).resolve(model).trained
            assert [d.weight.address for d in trained] == [weight.address]


def all_addresses() -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    return {build.__name__: [*addresses(build()).items()] for build in STRUCTURES}


def test_addresses_are_equal_in_another_process() -> None:
    """Where Keras has counted through other names, and Python hashes by another seed."""
    code = (
        "import json, keras; from backends.test_architectures import all_addresses, dense\n"
        "keras.Sequential([dense(None)]), keras.Sequential([dense(None)])\n"
        "print(json.dumps(all_addresses()))"
    )
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": tests, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout.splitlines()[-1])
    assert there == json.loads(json.dumps(all_addresses()))
