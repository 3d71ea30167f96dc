"""What the demo prints: steps, a progress bar for training, tables of results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from frostline.render import count, table


class Stage:
    """The demo's voice on a terminal."""

    def __init__(self, *, to_errors: bool = False) -> None:
        """Speak on the output, or on the error stream where the output is for results alone."""
        self.console = Console(highlight=False, stderr=to_errors)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, stderr=to_errors, width=100, no_color=True)

    def step(self, title: str, text: str = "") -> None:
        """Begin a step of the demo: a title, and a sentence or two in plain words."""
        self.console.print()
        self.console.print(Text(title, style="bold"))
        if text:
            self.console.print(Text(text))

    def say(self, text: str) -> None:
        """Print plain text."""
        self.console.print(Text(text))

    def draw(self, record: Any) -> None:
        """Print something that Rich draws."""
        self.console.print(record)

    def results(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table of results, figures in all columns but the first."""
        self.console.print(table(columns, rows, numbers=columns[1:]))

    @contextmanager
    def training(self, what: str) -> Iterator[keras.callbacks.Callback]:
        """Yield a callback that draws a progress bar with the loss; plain lines where no terminal is."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"))
        with Progress(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        ) as bar:
            drawn = _Bar(bar, what)
            yield drawn
        self.say(f"{what}: {drawn.summary}")


class _Bar(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, bar: Progress, what: str) -> None:
        super().__init__()
        self._bar = bar
        self._began = time.monotonic()
        self.summary = ""
        self._task = bar.add_task(what, total=None, loss="")

    def on_train_begin(self, logs: Any = None) -> None:
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        self._bar.update(self._task, total=steps * epochs if steps and epochs else None)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch % 10 == 0 and logs:
            self._bar.update(self._task, loss=f"loss {float(logs['loss']):.3f}")
        self._bar.update(self._task, advance=1)

    def on_train_end(self, logs: Any = None) -> None:
        seconds = time.monotonic() - self._began
        loss = f", training loss {float(logs['loss']):.3f}" if logs else ""
        self.summary = f"{count(self.params['epochs'], 'epoch')}, {seconds:.1f} s{loss}"
