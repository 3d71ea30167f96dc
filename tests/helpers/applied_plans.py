"""What tests of plans on models share."""

from typing import Any

import keras

from helpers.checks import (
    every_call,
    every_flag,
)


def adam() -> keras.optimizers.Optimizer:
    """A new Adam."""
    return keras.optimizers.Adam(0.05)


def everything(model: keras.Model) -> tuple[Any, ...]:
    """All that `apply` may change and must put back, but for the optimizer."""
    return every_flag(model), every_call(model), [w.path for w in model.trainable_weights]
