"""Real architectures with random weights, each with one small batch: those of Keras, and those of KerasHub.

All are classifiers, or have a small Dense `head` on every output: every weight has a part in the loss.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras.src.applications.convnext import ConvNeXt  # the function behind those of fixed sizes

from frostline.demo.encoder import EncoderConfig, build_encoder, build_regressor

CLASSES = 5
TOKENS, LENGTH, WIDTH = 30, 8, 8

Batch = tuple[Any, Any]

APPLICATIONS = {
    "ConvNeXtTiny": 32,
    "ConvNeXtSmall": 32,
    "DenseNet121": 32,
    "DenseNet169": 32,
    "EfficientNetB0": 32,
    "EfficientNetB1": 32,
    "EfficientNetV2B0": 32,
    "EfficientNetV2B1": 32,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Large": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "ResNet101": 32,
    "ResNet101V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
}
"""The smallest square input that each takes."""


def application(name: str, samples: int = 4) -> tuple[keras.Model, Batch]:
    """Return a classifier of `keras.applications`, compiled, and a batch for it."""
    side = APPLICATIONS[name]
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=CLASSES)
    return _of_images(model, side, samples)


def small_convnext(samples: int = 4) -> tuple[keras.Model, Batch]:
    """Return a ConvNeXt of four narrow blocks, where Keras's smallest has eighteen, compiled, and a batch."""
    model = ConvNeXt((1, 1, 1, 1), (8, 8, 16, 16), input_shape=(32, 32, 3), classes=CLASSES)
    return _of_images(model, 32, samples)


def _of_images(model: keras.Model, side: int, samples: int) -> tuple[keras.Model, Batch]:
    model.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    # Some rescale what they get, and expect pixels.
    return model, (
        rng.uniform(0, 255, (samples, side, side, 3)).astype("float32"),
        np.arange(samples) % CLASSES,
    )


def encoder(blocks: int, samples: int = 4) -> tuple[keras.Model, Batch]:
    """Return a narrow transformer encoder with a head of two layers, compiled, and a batch for it."""
    shape = EncoderConfig(
        vocabulary=TOKENS, positions=LENGTH, width=WIDTH, blocks=blocks, heads=2, intermediate=16
    )
    model = build_regressor(build_encoder(shape))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    ids = rng.integers(1, TOKENS, (samples, LENGTH)).astype("int32")
    x = {"token_ids": ids, "attention_mask": np.ones_like(ids)}
    return model, (x, rng.random((samples, 1), "float32"))


# --- KerasHub -------------------------------------------------------------------------------------

_TEXT = {"vocabulary_size": TOKENS, "num_layers": 2}
_LLAMA = {
    **_TEXT,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": WIDTH,
    "intermediate_dim": 16,
}
_BLOCKS = {**_TEXT, "num_heads": 2, "hidden_dim": WIDTH, "intermediate_dim": 16}
_POSITIONS = {**_BLOCKS, "max_sequence_length": LENGTH}

HUB: dict[str, dict[str, Any]] = {
    "BertBackbone": _POSITIONS,
    "RobertaBackbone": _POSITIONS,
    "DistilBertBackbone": _POSITIONS,
    "AlbertBackbone": {**_POSITIONS, "embedding_dim": WIDTH},
    "DebertaV3Backbone": {**_POSITIONS, "bucket_size": 4},
    "FNetBackbone": {
        **_TEXT,
        "hidden_dim": WIDTH,
        "intermediate_dim": 16,
        "max_sequence_length": LENGTH,
    },
    "GPT2Backbone": _POSITIONS,
    "GPTNeoXBackbone": {**_BLOCKS, "max_sequence_length": LENGTH, "rotary_percentage": 0.5},
    "OPTBackbone": _POSITIONS,
    "BloomBackbone": _BLOCKS,
    "LlamaBackbone": _LLAMA,
    "MistralBackbone": _LLAMA,
    "GemmaBackbone": {**_LLAMA, "head_dim": 4},
    "Qwen2Backbone": _LLAMA,
    "ViTBackbone": {
        "image_shape": (16, 16, 3),
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": WIDTH,
        "mlp_dim": 16,
    },
}

_UNTIED = ("LlamaBackbone", "MistralBackbone", "GemmaBackbone", "Qwen2Backbone")
"""Backbones that hold a table for the logits, which they do not use themselves."""


def hub(name: str, samples: int = 4) -> tuple[keras.Model, Batch]:
    """Return a tiny model of KerasHub with a Dense `head` on all that its backbone gives, and a batch."""
    import keras_hub

    backbone = getattr(keras_hub.models, name)(**HUB[name], name="backbone")
    given = {
        one: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=one) for one, tensor in _inputs(backbone)
    }
    out = backbone(given if isinstance(backbone.input, dict) else next(iter(given.values())))
    if name in _UNTIED:
        out = backbone.token_embedding(out, reverse=True)
    # The first token of a decoder sees none but itself: look at all.
    mean = keras.layers.GlobalAveragePooling1D
    pooled = [part if len(part.shape) == 2 else mean()(part) for part in keras.tree.flatten(out)]
    joined = pooled[0] if len(pooled) == 1 else keras.layers.Concatenate()(pooled)
    model = keras.Model(given, keras.layers.Dense(CLASSES, name="head")(joined))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x = {
        one: _values(rng, one, (samples, *(LENGTH if n is None else n for n in tensor.shape[1:])))
        for one, tensor in given.items()
    }
    return model, (x, rng.normal(size=(samples, CLASSES)).astype("float32"))


def _inputs(backbone: Any) -> list[tuple[str, Any]]:
    inputs = backbone.input
    return list(inputs.items()) if isinstance(inputs, dict) else [("x", inputs)]


def _values(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name == "token_ids":
        return rng.integers(0, TOKENS, shape).astype("int32")
    if name == "segment_ids":
        return (np.arange(shape[-1]) >= shape[-1] // 2).astype("int32") * np.ones(shape, "int32")
    if name == "padding_mask":
        return np.ones(shape, "int32")
    return rng.normal(size=shape).astype("float32")
