"""Small models for the examples of the rules."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def arguments(model: Any, optimizer: Any = "sgd", *, trained: bool = False, **more: Any) -> dict[str, Any]:
    """Compile a model with mean squared error, and return the arguments of `audit` for a batch of ones.

    Args:
        model: A model with one input and one output of rank 2.
        optimizer: As for `compile`.
        trained: Whether to train it for one step first.
        **more: Further arguments of `audit`.
    """
    model.compile(optimizer, "mse")
    x = np.ones((4, model.input_shape[-1]), model.inputs[0].dtype)
    y = np.zeros((4, model.output_shape[-1]), "float32")
    if trained:
        model.fit(x, y, verbose=0)
    return {"model": model, "x": x, "y": y, **more}


def two_layers(*between: Any, **settings: Any) -> Any:
    """Return a Sequential model: Dense `features`, what is to stand between, Dense `head`.

    Args:
        *between: Layers in the middle.
        **settings: Of `features`.
    """
    features = keras.layers.Dense(4, name="features", **settings)
    head = keras.layers.Dense(2, name="head")
    return keras.Sequential([keras.Input((3,)), features, *between, head], name="model")
