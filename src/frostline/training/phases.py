"""The phases of a schedule inside one call of `model.fit`.

One call, and not one for each phase, so that epochs count on, callbacks see one training, and `History` is one
piece. The plan changes in a callback, between two steps, which `apply` allows on every backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from frostline import _keras
from frostline.applying import apply
from frostline.errors import PlanError, listed, near
from frostline.resolution import Resolution
from frostline.schedule import Phase, Schedule
from frostline.verification import Fingerprint, fingerprint


@dataclass(frozen=True, slots=True)
class Finished:
    """A phase that has ended.

    Attributes:
        phase: The phase.
        resolution: What its plan decided.
        epochs: How many epochs ended in it.
        steps: How many training steps it took.
        after: The fingerprint at its end; None without a guard.
    """

    phase: Phase
    resolution: Resolution
    epochs: int
    steps: int
    after: Fingerprint | None


class PhaseSwitch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Ends each phase where the schedule says, and puts the next one's plan on the model.

    Args:
        schedule: The phases.
        resolutions: What the plan of each decided.
        guard: Whether to take a fingerprint at the end of each phase.
        check: Called with each phase that ended; raises where it must not go on.
    """

    def __init__(
        self, schedule: Schedule, resolutions: tuple[Resolution, ...], *, guard: bool, check: Any
    ) -> None:
        super().__init__()
        self._schedule = schedule
        self._resolutions = resolutions
        self._guard = guard
        self._check = check
        self.finished: list[Finished] = []
        self.phase_of_epoch: list[str] = []
        self._begin()

    @property
    def phase(self) -> Phase:
        """The phase that runs now; the last one after the end."""
        return self._schedule.phases[min(len(self.finished), len(self._schedule.phases) - 1)]

    @property
    def _resolution(self) -> Resolution:
        return self._resolutions[min(len(self.finished), len(self._resolutions) - 1)]

    def _begin(self) -> None:
        self._epochs = self._steps = self._waited = 0
        self._best: float | None = None
        self._best_values: list[tuple[Any, Any]] = []
        self._whole_epoch = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._last_batch = -1
        self._whole_epoch = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps += batch - self._last_batch
        self._last_batch = batch
        if self.phase.steps is not None and self._steps >= self.phase.steps:
            self._end()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if len(self.finished) == len(self._schedule.phases):
            self.phase_of_epoch.append(self.phase.name)
            return
        phase = self.phase
        self.phase_of_epoch.append(phase.name)
        # A phase that began within this epoch begins to count with the next one.
        self._epochs += self._whole_epoch
        stalled = phase.until is not None and self._stalled(phase, logs or {})
        if phase.epochs is not None and (self._epochs >= phase.epochs or stalled):
            self._end()

    def _stalled(self, phase: Phase, logs: dict[str, Any]) -> bool:
        assert phase.until is not None
        name = phase.until.monitor
        if name not in logs:
            close = near(name, logs)
            raise PlanError(
                f"the phase {phase.name!r} monitors {name!r}, which this training does not report",
                received=f"it reports {listed(sorted(logs), most=8)}",
                remedy=f"did you mean {close[0]!r}?" if close else "val_... needs validation_data",
            )
        value = float(logs[name])
        if phase.until.improves(value, self._best):
            self._best, self._waited = value, 0
            if phase.restore_best:
                self._best_values = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in self._changing()]
            return False
        self._waited += 1
        return self._waited >= phase.until.patience

    def _changing(self) -> list[Any]:
        every = (*self._resolution.trained, *(d for d in self._resolution.statistics if d.trains))
        return [decision.weight.variable for decision in every]

    def _end(self) -> None:
        _keras.settle(self.model)
        for variable, value in self._best_values:
            variable.assign(value)
        last = len(self.finished) + 1 == len(self._schedule.phases)
        if not last:
            # As at the end of a `fit`: what was averaged takes its average.
            _keras.finish_averages(self.model)
        after = fingerprint(self.model) if self._guard and not last else None
        done = Finished(self.phase, self._resolution, self._epochs, self._steps, after)
        if not last:
            self._check(done)
        self.finished.append(done)
        if last:
            self.model.stop_training = True
            return
        within_epoch = self.phase.steps is not None or done.phase.steps is not None
        self._begin()
        self._whole_epoch = not within_epoch
        apply(self.model, self._resolution)


def most_epochs(schedule: Schedule, batches: int | None) -> int:
    """Return how many epochs a schedule can take at most.

    Args:
        schedule: The phases.
        batches: Training steps in an epoch, or None where that is not known.
    """
    total = 0
    for phase in schedule.phases:
        # A phase that ends within an epoch, or begins in one, touches one more.
        total += phase.epochs if phase.epochs is not None else -(-(phase.steps or 0) // (batches or 1)) + 1
    return total + sum(phase.steps is not None for phase in schedule.phases)
