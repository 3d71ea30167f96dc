"""Every kind of built-in layer with weights: a gradient comes back to each, by structure and as measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from frostline.backends.dispatch import measure, trace
from frostline.diagnostics.diagnosis import Diagnosis
from frostline.graph.reader import Computation, ReadVariable
from frostline.model.inventory import inventory

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
COMPILED = ("batch_normalization", "gru", "multi_head_attention", "prelu")
"""Measured on JAX too, where the step of each is compiled first."""

SERIES, IMAGE = (5, 4), (8, 8, 4)

LAYERS: dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]] = {
    "additive_attention": (layers.AdditiveAttention, (SERIES, SERIES)),
    "attention": (lambda: layers.Attention(use_scale=True), (SERIES, SERIES)),
    "batch_normalization": (layers.BatchNormalization, ((4,),)),
    "bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3)), (SERIES,)),
    "conv_1d": (lambda: layers.Conv1D(3, 3), (SERIES,)),
    "conv_2d": (lambda: layers.Conv2D(3, 3), (IMAGE,)),
    "conv_2d_transpose": (lambda: layers.Conv2DTranspose(3, 3), (IMAGE,)),
    "conv_3d": (lambda: layers.Conv3D(2, 2), ((4, 4, 4, 2),)),
    "conv_lstm": (lambda: layers.ConvLSTM2D(2, 3), ((3, *IMAGE),)),
    "dense": (lambda: layers.Dense(3, activation="gelu"), ((4,),)),
    "depthwise_conv": (lambda: layers.DepthwiseConv2D(3), (IMAGE,)),
    "einsum_dense": (lambda: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), (SERIES,)),
    "group_normalization": (lambda: layers.GroupNormalization(2), (IMAGE,)),
    "grouped_attention": (lambda: layers.GroupQueryAttention(4, 4, 2), (SERIES, SERIES)),
    "gru": (lambda: layers.GRU(3, return_sequences=True), (SERIES,)),
    "layer_normalization": (layers.LayerNormalization, ((4,),)),
    "lstm_with_dropout": (lambda: layers.LSTM(3, dropout=0.1, recurrent_dropout=0.1, seed=1), (SERIES,)),
    "multi_head_attention": (lambda: layers.MultiHeadAttention(2, 3), (SERIES, SERIES)),
    "prelu": (layers.PReLU, ((4,),)),
    "rms_normalization": (layers.RMSNormalization, ((4,),)),
    "separable_conv": (lambda: layers.SeparableConv2D(3, 3), (IMAGE,)),
    "simple_rnn": (lambda: layers.SimpleRNN(3, unroll=True), (SERIES,)),
    "spectral_normalization": (lambda: layers.SpectralNormalization(layers.Dense(3)), ((4,),)),
    "time_distributed": (lambda: layers.TimeDistributed(layers.Dense(3)), (SERIES,)),
}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_weight_trains(name: str) -> None:
    make, shapes = LAYERS[name]
    rng = np.random.default_rng(4)
    layer = make()
    inputs = [ops.convert_to_tensor(rng.normal(size=(2, *shape)).astype("float32")) for shape in shapes]
    # These two take their inputs in one list; every other layer takes them one by one.
    given = [inputs] if name in ("attention", "additive_attention") else inputs
    target = ops.convert_to_tensor(rng.normal(size=layer(*given).shape).astype("float32"))
    for weight in layer.trainable_weights:
        weight.assign(weight + rng.uniform(-0.3, 0.3, tuple(weight.shape)).astype("float32"))
    held = inventory(layer)
    computation = Computation(
        lambda: ops.mean((layer(*given, training=True) - target) ** 2),
        tuple(ReadVariable(w.address, w.variable, "weight" if w.role == "weight" else "state") for w in held),
        layers={id(node.layer): node.address for node in held.layers},
    )

    seen = trace(computation)
    measured = measure(computation) if BACKEND != "jax" or name in COMPILED else None
    diagnosis = Diagnosis(seen, measured)

    assert {one: diagnosis.flow.structural_status(place) for one, place in seen.graph.weights.items()} == {
        weight.address: "trains" for weight in held.of_role("weight")
    }
    assert {diagnosis.status(one) for one in seen.graph.weights} == {"trains"}
    assert seen.unknown_layers == ()
    assert list(seen.graph.leaves("foreign")) == []
    written = {write.variable.name for write in seen.writes}
    statistics = {weight.variable.name for weight in held.of_role("statistic", "seed")}
    # Keras's spectral normalization assigns the normalized kernel to the kernel itself.
    assert written - statistics == ({"kernel"} if name == "spectral_normalization" else set())


def test_a_named_layer_is_known_by_its_address_and_another_is_a_stranger() -> None:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="first")], name="inner")
    hidden = layers.Dense(2, name="hidden")
    hidden.build((None, 3))
    held = inventory(inner)

    computation = Computation(
        lambda: ops.mean(hidden(inner(ops.ones((2, 3))))),
        tuple(ReadVariable(w.address, w.variable) for w in held),
        layers={id(node.layer): node.address for node in held.layers},
    )
    seen = trace(computation)

    assert {node.layer for node in seen.graph.nodes if node.layer} >= {"first", "hidden"}
    (unknown,) = seen.unknown_layers
    assert (unknown.layer, unknown.address) == (hidden, "hidden")
    assert unknown.where is not None
    assert unknown.where.source == "lambda: ops.mean(hidden(inner(ops.ones((2, 3))))),"
    assert {leaf.name.rpartition("/")[2] for _, leaf in seen.graph.leaves("foreign")} == {"kernel", "bias"}
