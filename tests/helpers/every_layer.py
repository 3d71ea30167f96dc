"""One model with every built-in layer of Keras that has weights to train."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

WIDTH = 4
SAMPLES = 4

WITHOUT_WEIGHTS = {
    # Bases of other layers, and layers that build without making a weight that trains.
    *("Layer", "Wrapper", "Normalization", "TextVectorization"),
    *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
    *("AugMix", "RandAugment", "RandomColorJitter"),
    # What others wrote, in one framework.
    *("FlaxLayer", "JaxLayer", "TFSMLayer"),
}
"""Layers of Keras with a `build` of their own and nothing to train."""


def wanted() -> set[str]:
    """The names of the layers of Keras that make weights to train."""
    classes = [c for c in vars(keras.layers).values() if isinstance(c, type) and issubclass(c, keras.Layer)]
    return {c.__name__ for c in classes if c.build is not keras.Layer.build} - WITHOUT_WEIGHTS


def every_layer() -> tuple[keras.Model, tuple[dict[str, np.ndarray], np.ndarray]]:
    """Return the model, compiled, and a batch for it."""
    branches = (_series, _numbers, _image, _volume, _movies, _sound)
    inputs: dict[str, Any] = {}
    outputs = [one for branch in branches for one in branch(inputs)]
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Concatenate()(outputs)), name="every")
    model.compile(keras.optimizers.SGD(clipnorm=1.0), "mse")  # 0.01 by itself makes it explode
    rng = np.random.default_rng(0)
    x = {
        name: rng.integers(0, 9, (SAMPLES, *tensor.shape[1:])).astype("int32")
        if "int" in tensor.dtype
        else rng.normal(size=(SAMPLES, *tensor.shape[1:])).astype("float32")
        for name, tensor in inputs.items()
    }
    return model, (x, rng.normal(size=(SAMPLES, 2)).astype("float32"))


def _input(inputs: dict[str, Any], name: str, *shape: int, dtype: str = "float32") -> Any:
    inputs[name] = keras.Input(shape, dtype=dtype, name=name)
    return inputs[name]


def _residual(value: Any, *chain: Any) -> Any:
    """Call layers one after the other, each beside an identity, so that no gradient fades on the way."""
    for layer in chain:
        value = value + layer(value)
    return value


def _series(inputs: dict[str, Any]) -> list[Any]:
    ids = _input(inputs, "ids", 5, dtype="int32")
    tied = layers.ReversibleEmbedding(9, WIDTH)
    value = layers.Embedding(9, WIDTH)(ids) + tied(ids)
    value = _residual(
        value,
        layers.Conv1D(WIDTH, 3, padding="same"),
        layers.DepthwiseConv1D(3, padding="same"),
        layers.SeparableConv1D(WIDTH, 3, padding="same"),
        layers.Conv1DTranspose(WIDTH, 3, padding="same"),
        layers.LSTM(WIDTH, return_sequences=True),
        layers.GRU(WIDTH, return_sequences=True),
        layers.SimpleRNN(WIDTH, return_sequences=True),
        layers.Bidirectional(layers.LSTM(WIDTH // 2, return_sequences=True)),
        layers.RNN(
            layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(3), layers.SimpleRNNCell(WIDTH)]),
            return_sequences=True,
        ),
        layers.TimeDistributed(layers.Dense(WIDTH)),
        layers.EinsumDense("abc,cd->abd", (None, WIDTH), bias_axes="d"),
        layers.LayerNormalization(),
        layers.RMSNormalization(),
        layers.PReLU(alpha_initializer="ones", shared_axes=[1]),
    )
    value = value + layers.MultiHeadAttention(2, 2)(value, value)
    value = value + layers.GroupQueryAttention(2, 2, 1)(value, value)
    value = value + layers.Attention(use_scale=True)([value, value])
    value = value + layers.AdditiveAttention()([value, value])
    return [
        layers.GlobalAveragePooling1D()(value),
        layers.GlobalAveragePooling1D()(tied(value, reverse=True)),
    ]


def _numbers(inputs: dict[str, Any]) -> list[Any]:
    return [layers.Dense(3)(_input(inputs, "numbers", 3))]


def _image(inputs: dict[str, Any]) -> list[Any]:
    value = _residual(
        _input(inputs, "image", 5, 5, WIDTH),
        layers.Conv2D(WIDTH, 3, padding="same"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.SeparableConv2D(WIDTH, 3, padding="same"),
        layers.Conv2DTranspose(WIDTH, 3, padding="same"),
        layers.BatchNormalization(),
        layers.GroupNormalization(2),
        layers.SpectralNormalization(layers.Conv2D(WIDTH, 3, padding="same")),
    )
    return [layers.GlobalAveragePooling2D()(value)]


def _volume(inputs: dict[str, Any]) -> list[Any]:
    value = _residual(
        _input(inputs, "volume", 3, 3, 3, 2),
        layers.Conv3D(2, 2, padding="same"),
        layers.Conv3DTranspose(2, 2, padding="same"),
    )
    return [layers.GlobalAveragePooling3D()(value)]


def _movies(inputs: dict[str, Any]) -> list[Any]:
    kinds = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)
    return [
        layers.Flatten()(kind(1, 2)(_input(inputs, f"movie_{n}", 2, *(3,) * n, 2)))
        for n, kind in enumerate(kinds, start=1)
    ]


def _sound(inputs: dict[str, Any]) -> list[Any]:
    spectrogram = layers.STFTSpectrogram(
        mode="magnitude", frame_length=8, frame_step=4, fft_length=8, trainable=True
    )
    return [layers.GlobalAveragePooling1D()(spectrogram(_input(inputs, "sound", 16, 1)))]
