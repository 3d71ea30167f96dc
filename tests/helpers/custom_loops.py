"""What tests of loops of one's own share."""

from __future__ import annotations

import keras
import numpy as np

import frostline as fl
from helpers.small_models import (
    data_for,
)

ONLY_B = fl.Plan().train("b/**")


def batches(model: keras.Model, epochs: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two batches an epoch, as `frostline_fit` makes them."""
    x, y = data_for(model)
    return [(x[:4], y[:4]), (x[4:], y[4:])] * epochs
