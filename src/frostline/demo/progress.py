"""What the demo prints: steps, a progress bar for training, tables of results."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from frostline.render.console import console_on
from frostline.render.results import results
from frostline.render.tables import count, plain, table
from frostline.runs.progress_bar import TrainingBar


class Stage:
    """The demo's voice on a terminal."""

    def __init__(self, *, to_errors: bool = False) -> None:
        """Speak on the output, or on the error stream where the output is for results alone."""
        self.console = console_on(sys.stderr if to_errors else results() or sys.stderr)

    def step(self, title: str, text: str = "") -> None:
        """Begin a step of the demo: a title, and a sentence or two in plain words."""
        self.console.print()
        self.console.print(plain(title, "bold"))
        if text:
            self.console.print(text)

    def say(self, text: str) -> None:
        """Print plain text."""
        self.console.print(text)

    def draw(self, record: Any) -> None:
        """Print something that Rich draws."""
        self.console.print(record)

    def results(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table of results, figures in all columns but the first."""
        self.console.print(table(columns, rows, numbers=columns[1:]))

    @contextmanager
    def training(self, what: str) -> Iterator[keras.callbacks.Callback]:
        """Yield a callback that draws a progress bar with the loss; plain lines where no terminal is."""
        bar = _SummingBar(self.console, what)
        try:
            yield bar
        finally:
            bar.close()
        self.say(f"{what}: {bar.summary}")


class _SummingBar(TrainingBar):
    """The bar, and one sentence about the whole training at its end."""

    summary = ""

    def on_train_begin(self, logs: Any = None) -> None:
        self._began = time.monotonic()
        super().on_train_begin(logs)

    def on_train_end(self, logs: Any = None) -> None:
        super().on_train_end(logs)
        seconds = time.monotonic() - self._began
        loss = f", training loss {float(logs['loss']):.3f}" if logs else ""
        self.summary = f"{count(self.params['epochs'], 'epoch')}, {seconds:.1f} s{loss}"
