"""The small trainings that rules show themselves by."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from frostline.diagnostics.training_rule import Program

SAMPLES = 64


def inputs(features: int = 3) -> Any:
    """Return samples around zero."""
    return np.random.default_rng(0).normal(size=(SAMPLES, features)).astype("float32")


def two_layers(activation: str = "relu", units: int = 8) -> Any:
    """Return a model with one hidden layer, with the same first values each time."""
    start = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    hidden = keras.layers.Dense(units, activation, kernel_initializer=start, name="hidden")
    head = keras.layers.Dense(1, kernel_initializer=start, name="head")
    return keras.Sequential([keras.Input((3,)), hidden, head], name="net")


def regression(model: Any, optimizer: Any, *, loss: str = "mse", epochs: int = 4) -> Program:
    """Return the training of a model on the sum of its inputs, and one."""
    x = inputs()
    model.compile(optimizer, loss)
    return Program(
        model, x, x.sum(axis=1, keepdims=True) + 1, {"epochs": epochs, "batch_size": 16, "shuffle": False}
    )
