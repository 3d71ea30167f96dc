"""What a run writes down while it goes: every epoch in a table, everything that was said in a log."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from frostline.errors import OutputFolderError, RunError
from frostline.files.atomic import write_atomically
from frostline.plan.phase import Phase
from frostline.render.documents import csv_table
from frostline.render.foreign import exact, visible
from frostline.render.tables import plain
from frostline.runs.progress_bar import learning_rate
from frostline.training.watch.report import PREFIX


class RunLog:
    """Says lines on a console and, once there is a folder, keeps them in its log with the time of day.

    Args:
        console: Where lines are printed.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._path: Path | None = None

    def keep_in(self, path: Path) -> None:
        """Append every line from now on to a file."""
        self._path = path

    def say(self, text: str = "", *, style: str = "") -> None:
        """Print a line and keep it."""
        self.console.print(plain(text, style, lines=True), soft_wrap=True)
        self.note(text)

    def note(self, text: str) -> None:
        """Keep lines without printing them."""
        if self._path is None or not text:
            return
        clock = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.writelines(f"{clock}  {line}\n" for line in visible(text).split("\n"))
        except OSError as error:
            raise OutputFolderError(f"cannot write {str(self._path)!r}: {error.strerror}") from None


class EpochRecords(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """One line for each epoch, in a CSV file that is whole at any moment, and on the console.

    CSV and not JSON, since a table is what it is: spreadsheets, pandas and `cut` read it as it stands.

    Args:
        path: The file.
        say: Gets a line of text for each epoch.
        epochs: How many epochs the run takes at most; None where nobody knows.
        width: Of the longest name of a phase.
    """

    def __init__(self, path: Path, say: Callable[[str], None], epochs: int | None, width: int) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self._path, self._say, self._epochs, self._width = path, say, epochs, width
        self._phase: Phase | None = None
        self._here = Path.cwd()

    def on_phase_begin(self, phase: Phase) -> None:
        """Remember in which phase an epoch is."""
        self._phase = phase

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Look at the clock."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the line down and say it."""
        self._require_here()
        phase, seconds = self._phase, time.monotonic() - self._began
        rate = learning_rate(self.model) * (phase.lr if phase else 1)
        # A callback may put anything there, under any name.
        named = {exact(str(name)): value for name, value in (logs or {}).items()}
        values = {name: _figure(named[name]) for name in sorted(named, key=_place)}
        values.pop("learning_rate", None)
        row = {"phase": phase.name} if phase else {}
        times = {"learning_rate": _figure(rate), "seconds": round(seconds, 3)}
        self.rows.append({"epoch": epoch + 1, **row, **values, **times})
        write_rows(self._path, self.rows)
        name = f"{exact(phase.name):<{self._width}}  " if phase else ""
        # What watching adds stands in the table, and is said at the end.
        told = {name: value for name, value in values.items() if not name.startswith(PREFIX)}
        said = "  ".join(f"{name} {value:<6.4g}" for name, value in told.items())
        place = f"{epoch + 1:>{len(str(self._epochs))}}/{self._epochs}" if self._epochs else f"{epoch + 1:>3}"
        self._say(f"{name}epoch {place}  {said}  lr {rate:.3g}  {seconds:.2f} s")

    def _require_here(self) -> None:
        """Refuse to go on in another folder: all that is written would land there."""
        if (found := Path.cwd()) == self._here:
            return
        os.chdir(self._here)
        raise RunError(
            "the code that the run uses changed the current folder",
            received=str(found),
            expected=str(self._here),
            remedy="open files in it by their whole paths in place of os.chdir",
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint is to keep."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the epochs of a checkpoint."""
        self.rows = [dict(row) for row in state["rows"]]


def _place(name: str) -> tuple[bool, bool, str]:
    """Sort the loss before metrics, and all of training before all of validation."""
    return name.startswith("val_"), not name.endswith("loss"), name


def _figure(value: Any) -> float:
    """Return a number of the model's precision without the digits that a longer type adds."""
    return float(str(np.float32(value)))


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as CSV; columns in the order in which they first come."""
    write_atomically(path, csv_table(rows).encode(), OutputFolderError)
