"""What a training shows of itself on a terminal: a bar with the loss and the time left."""

from __future__ import annotations

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from frostline.plan.phase import Phase
from frostline.render.foreign import exact


class TrainingBar(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Draws a bar while a training runs, and takes it away at the end. Draws nothing where no terminal is.

    Args:
        console: Where it draws.
        what: Stands in front of the bar; without it, the phase and the epoch do.
        steps: How many steps the training takes at most; without it, what Keras knows.
    """

    async_safe = True
    """Keras on JAX need not wait for each step on its account."""

    def __init__(self, console: Console, what: str = "", steps: int | None = None) -> None:
        super().__init__()
        self._what, self._steps, self._phase = what, steps, ""
        self._last, self._each = -1, 0
        self._epoch: int | None = None
        self._said, self._rate, self._factor = "", "", 1.0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=14),
            TextColumn("{task.fields[said]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(exact(what), total=None, said="")

    def on_phase_begin(self, phase: Phase) -> None:
        """Name the phase in front of the bar."""
        self._phase, self._factor = phase.name, phase.lr
        if self._epoch is None:
            self._describe()

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to draw."""
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        self._each = steps or 0
        total = self._steps or (steps * epochs if steps and epochs else None)
        self._bar.update(self._task, total=total)
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count batches anew; a run that was interrupted begins further on."""
        self._last = -1
        if self._epoch is None and epoch:
            self._bar.reset(self._task, completed=epoch * self._each)
        self._epoch = epoch
        self._describe()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move on; several steps may have run at a time."""
        done, self._last = batch - self._last, batch
        if logs and "loss" in logs:
            self._said = f"loss {float(logs['loss']):.4g}{self._rate}"
        self._bar.update(self._task, advance=done, said=self._said)

    def on_train_end(self, logs: Any = None) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Take the bar away, also where the training failed."""
        self._bar.stop()

    def _describe(self) -> None:
        if self._what:
            return
        epoch = f"epoch {(self._epoch or 0) + 1}/{self.params.get('epochs') or '?'}"
        self._rate = f"  lr {learning_rate(self.model) * self._factor:.3g}"
        self._bar.update(self._task, description=exact(f"{self._phase} {epoch}".strip()))


def learning_rate(model: Any) -> float:
    """Return the learning rate of a model as it is now; between epochs, or before them."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
