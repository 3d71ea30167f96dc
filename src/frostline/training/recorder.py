"""The callback that writes a checkpoint at the end of each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Comes after all other callbacks of a training, so that what it sees is where an epoch ended.

    Args:
        begin: Called when all other callbacks know that training begins.
        record: Called with the index of the epoch that comes next, and whether there will be one.
    """

    def __init__(self, begin: Callable[[], None], record: Callable[[int, bool], None]) -> None:
        super().__init__()
        self._begin = begin
        self._record = record

    def set_model(self, model: Any) -> None:
        """Keep the model: on JAX `self.model` writes values into it."""
        super().set_model(model)
        self._held = model

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record."""
        self._record(epoch + 1, bool(self._held.stop_training))
