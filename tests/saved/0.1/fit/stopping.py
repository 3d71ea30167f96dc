"""A callback of the user's own; with a file that says at which epoch, it stops the run as Ctrl-C does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras


class Stopping(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        at = Path(__file__).with_name("stop_at")
        if at.exists() and epoch == int(at.read_text()):
            raise KeyboardInterrupt


def stopping() -> keras.callbacks.Callback:
    return Stopping()
