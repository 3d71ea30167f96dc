"""What tests of schedules share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from frostline import Plan
from helpers.checks import values

HEAD = Plan().train("c/**")


class Scores(keras.callbacks.Callback):
    """Reports a `score` of our making for each epoch, and keeps the values at its ends."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.scores = scores
        self.begins: list[dict[str, np.ndarray]] = []
        self.ends: list[dict[str, np.ndarray]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begins.append(values(self.model))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["score"] = self.scores[epoch]
        self.ends.append(values(self.model))


def require_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Two sets of values have the same bits."""
    assert {a for a in expected if found[a].tobytes() != expected[a].tobytes()} == set()
