"""Trains one small network through three phases and writes what came out; run by `test_backends_agree.py`.

The values to begin with, the data and their order are given, and nothing is random, so the backend that
`KERAS_BACKEND` names is all that differs. Usage: python three_phases.py FILE.npz
"""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
from keras import layers

import frostline as fl

SAMPLES, BATCH, STEPS = 24, 4, 5
TOKENS = BATCH * STEPS

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda: keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adamw": lambda: keras.optimizers.AdamW(
        0.01, weight_decay=0.05, epsilon=1e-4, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9
    ),
}
SCHEDULE = fl.Schedule(
    fl.Plan().train("head/**"),
    (
        fl.Phase("head", epochs=2),
        fl.Phase("upper", steps=7, lr=0.5).train("norm/**").train("lstm/**", lr=0.3),
        fl.Phase("all but the head", epochs=2).train("**", decay=2.0).freeze("head/kernel"),
    ),
)


def network() -> keras.Model:
    """Images and tokens, with convolution, normalization, a recurrent layer and an embedding."""
    image, tokens = keras.Input((6, 6, 2), name="image"), keras.Input((STEPS,), dtype="int32", name="tokens")
    seen = layers.Conv2D(4, 3, use_bias=False, name="conv")(image)
    seen = layers.Activation("tanh", name="tanh")(layers.BatchNormalization(momentum=0.8, name="bn")(seen))
    seen = layers.GlobalAveragePooling2D(name="pool")(seen)
    read = layers.LSTM(4, name="lstm")(layers.Embedding(TOKENS, 3, name="embed")(tokens))
    both = layers.LayerNormalization(name="norm")(layers.Concatenate(name="both")([seen, read]))
    model = keras.Model([image, tokens], layers.Dense(2, name="head")(both), name="three_phases")
    rng = np.random.default_rng(1)
    for weight in fl.inventory(model).of_role("weight"):
        scale = 0.1 if weight.name == "gamma" else 0.4
        drawn = rng.normal(weight.name == "gamma", scale, weight.shape)
        weight.variable.assign(drawn.astype("float32"))
    return model


def data() -> tuple[list[np.ndarray], np.ndarray]:
    """Inputs and targets. No batch holds a token twice: Keras on TensorFlow squares their gradients apart."""
    rng = np.random.default_rng(2)
    images = rng.normal(size=(SAMPLES, 6, 6, 2)).astype("float32")
    tokens = [rng.permutation(TOKENS).reshape(BATCH, STEPS) for _ in range(SAMPLES // BATCH)]
    return [images, np.concatenate(tokens)], rng.normal(size=(SAMPLES, 2)).astype("float32")


def trained(optimizer: str) -> dict[str, np.ndarray]:
    """All values after three phases, the losses, and what moved in each phase."""
    model = network()
    model.compile(OPTIMIZERS[optimizer](), "mse")
    run = fl.fit(model, SCHEDULE, *data(), batch_size=BATCH, shuffle=False, verbose=0)
    found = {w.address: w.numpy() for w in fl.inventory(model).of_role("weight", "statistic")}
    found["loss"] = np.array(run.history.history["loss"])
    for phase in run.phases:
        assert phase.verification is not None
        found[f"moved in {phase.name}"] = np.array(sorted(phase.verification.of("trained")))
    return found


if __name__ == "__main__":
    every = {f"{name}: {key}": value for name in OPTIMIZERS for key, value in trained(name).items()}
    np.savez(sys.argv[1], **every)
