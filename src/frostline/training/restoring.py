"""Callbacks that put earlier values back when training has ended, in a schedule.

`EarlyStopping(restore_best_weights=True)` keeps one best epoch of the whole training. Where that lies in an
earlier phase, weights which the last phase held fixed go back to what they were. That is what its user asked
for, so it is no fault of the last phase: that phase is closed before, and what came back is written down
behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras

from frostline.verification.fingerprint import Fingerprint


class BeforeRestoring(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Takes the fingerprint of what training ended with, before any other callback's `on_train_end`.

    Args:
        take: Takes the fingerprint of the model.

    Attributes:
        after: The fingerprint; None until then.
    """

    def __init__(self, take: Callable[[], Fingerprint]) -> None:
        super().__init__()
        self._take = take
        self.after: Fingerprint | None = None

    def on_train_end(self, logs: Any = None) -> None:
        """Take it."""
        self.after = self._take()


def restores(callbacks: Iterable[Any]) -> bool:
    """Whether one of the callbacks may put earlier values back at the end."""
    return any(getattr(callback, "restore_best_weights", False) for callback in callbacks)
