"""The phases of a schedule inside one call of `model.fit`.

One call, and not one for each phase, so that epochs count on, callbacks see one training, and `History` is
one piece. The plan changes in a callback, between two steps, which `apply` allows on every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras

from frostline._keras.trainers import finish_averages, sync_values
from frostline._keras.variables import to_numpy
from frostline.errors import PlanError, listed, near
from frostline.plan.phase import Phase
from frostline.plan.schedule import Schedule
from frostline.render.foreign import warn
from frostline.resolution.resolution import Resolution
from frostline.trainability.apply import put_plan_on
from frostline.training.ledger import Ledger
from frostline.verification.fingerprint import Fingerprint


@dataclass(slots=True)
class _Place:
    """Where a schedule stands.

    Attributes:
        number: Which phase runs, from 0; after the end, the last one.
        epochs: How many epochs have ended in it.
        steps: How many steps.
        waited: For how many epochs what it monitors has not improved.
        best: The best value of that so far.
        counts: Whether the epoch that runs counts. One within which a phase begins belongs to the phase
            before.
    """

    number: int = 0
    epochs: int = 0
    steps: int = 0
    waited: int = 0
    best: float | None = None
    counts: bool = True


class PhaseSwitch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Ends each phase where the schedule says, and puts the next one's plan on the model.

    Args:
        schedule: The phases.
        resolutions: What the plan of each decided.
        ledger: Where the end of each phase is written down, but for the last one's.
        keep_state: Whether slots of weights that stop training are kept for a later phase.
        seldom_validated: Whether there are epochs without validation, by `validation_freq`.
    """

    def __init__(
        self,
        schedule: Schedule,
        resolutions: tuple[Resolution, ...],
        ledger: Ledger,
        *,
        keep_state: bool,
        seldom_validated: bool = False,
    ) -> None:
        super().__init__()
        self._keep_state = keep_state
        self._seldom_validated = seldom_validated
        self._schedule = schedule
        self._resolutions = resolutions
        self._ledger = ledger
        self.listeners: tuple[Any, ...] = ()
        self.spoilt: Callable[[], list[str]] | None = None
        """What is NaN now and was not: such values are never the best. None where others see to that."""
        self.phase_of_epoch: list[str] = []
        self._ended_in_epoch: list[str] = []
        self._last_batch = -1
        self._place = _Place()
        self._best_values: dict[str, Any] = {}

    @property
    def phase(self) -> Phase:
        """The phase that runs now; after the end, the last one."""
        return self._schedule.phases[self._place.number]

    @property
    def resolution(self) -> Resolution:
        """What the plan of that phase decided."""
        return self._resolutions[self._place.number]

    @property
    def epochs(self) -> int:
        """How many epochs have ended in that phase."""
        return self._place.epochs

    @property
    def stepped(self) -> bool:
        """Whether any step ran in that phase: one that begins behind an epoch's last step may be stopped."""
        return bool(self._place.epochs or self._place.steps)

    @property
    def most_epochs(self) -> int:
        """How many epochs the schedule can take at most, if each has one step only."""
        phases = self._schedule.phases
        epochs = sum(phase.epochs or phase.steps or 0 for phase in phases)
        # A phase that ends within an epoch leaves the rest of it to the next one.
        return epochs + sum(phase.steps is not None for phase in phases)

    @property
    def number(self) -> int:
        """The place of that phase in the schedule, from 0."""
        return self._place.number

    def to_data(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return, between two epochs, where the schedule stands, as plain data and as arrays by address."""
        return {**asdict(self._place), "phase_of_epoch": list(self.phase_of_epoch)}, dict(self._best_values)

    def go_to(self, data: Mapping[str, Any], best_values: Mapping[str, Any]) -> None:
        """Go to the place in the schedule that `to_data` returned; the plan there is not applied."""
        self._place = _Place(**{name: value for name, value in data.items() if name != "phase_of_epoch"})
        self.phase_of_epoch = list(data["phase_of_epoch"])
        self._best_values = dict(best_values)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin to count batches anew."""
        self._last_batch = -1
        self._place.counts = True
        self._ended_in_epoch = []

    def step(self, batch: int) -> None:
        """Count the steps up to a batch of this epoch, and end a phase that has enough of them."""
        place, wanted = self._place, self.phase.steps
        # With steps_per_execution Keras names only the last batch of each execution.
        place.steps += batch - self._last_batch
        self._last_batch = batch
        if wanted is not None and place.steps >= wanted:
            if place.steps > wanted:
                warn(
                    f"the phase {self.phase.name!r} took {place.steps} steps instead of {wanted}: with "
                    "steps_per_execution, a phase ends where an execution ends",
                    stacklevel=2,
                )
            self._ended_in_epoch.append(self.phase.name)
            self._end(within_epoch=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Count the epoch, and end a phase that has enough of them or improves no more."""
        phase, place = self.phase, self._place
        place.epochs += place.counts
        self._require_reported(logs or {})
        # A phase that begins behind the last step has none of the epoch.
        names = [*self._ended_in_epoch, *([phase.name] if self.stepped else [])]
        self.phase_of_epoch.append(" > ".join(dict.fromkeys(names)))
        stalled = phase.until is not None and place.counts and self._stalled(phase, logs or {})
        if phase.epochs is not None and (place.epochs >= phase.epochs or stalled):
            self._end(within_epoch=False)

    def _require_reported(self, logs: Mapping[str, Any]) -> None:
        """Check that each phase, later ones too, monitors what is reported."""
        validated = not self._seldom_validated or any(name.startswith("val_") for name in logs)
        for phase in self._schedule.phases[self._place.number :]:
            name = phase.until.monitor if phase.until is not None else None
            if name is None or name in logs or (name.startswith("val_") and not validated):
                continue
            close = near(name, logs)
            raise PlanError(
                f"the phase {phase.name!r} monitors {name!r}, which this training does not report",
                received=f"it reports {listed(sorted(logs), most=8)}",
                remedy=f"did you mean {close[0]!r}?" if close else "val_... needs validation_data",
            )

    def _stalled(self, phase: Phase, logs: dict[str, Any]) -> bool:
        assert phase.until is not None
        if phase.until.monitor not in logs:
            return False  # an epoch without validation: it counts for nothing here
        place, value = self._place, float(logs[phase.until.monitor])
        if phase.until.improves(value, place.best) and not (self.spoilt is not None and self.spoilt()):
            place.best, place.waited = value, 0
            if phase.restore_best:
                self._best_values = {a: to_numpy(v) for a, v in self._changing().items()}
            return False
        place.waited += 1
        return place.waited >= phase.until.patience

    def _changing(self) -> dict[str, Any]:
        """Return the variables that may change in this phase, by address."""
        changing = self.resolution.changing
        return {address: v for decision in changing for address, v in decision.weight.targets}

    def _end(self, *, within_epoch: bool) -> None:
        sync_values(self.model)
        number = self._place.number
        if number + 1 == len(self._schedule.phases) or self.model.stop_training:
            self.model.stop_training = True
            self._restore_best()
            return
        # As at the end of a `fit`: what was averaged takes its average.
        finish_averages(self.model)
        self._restore_best()
        self._ledger.close(self.phase.name, self.resolution, self.epochs)
        # A phase that begins within an epoch counts its own from the next one on.
        self._place = _Place(number + 1, counts=not within_epoch)
        self._best_values = {}
        put_plan_on(self.model, self.resolution, keep_state=self._keep_state)
        self._tell()

    def on_train_begin(self, logs: Any = None) -> None:
        """Say which phase begins."""
        self._tell()

    def _tell(self) -> None:
        for listener in self.listeners:
            listener.on_phase_begin(self.phase)

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights once more: `fit` has put averages (EMA) in their place since."""
        self._restore_best()

    def _restore_best(self) -> None:
        changing = self._changing() if self._best_values else {}
        for address, value in self._best_values.items():
            changing[address].assign(value)


class StepwisePhaseSwitch(PhaseSwitch):
    """The same for schedules with phases that end by steps.

    Apart, since Keras on JAX waits for every step where a callback wants to see it.
    """

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step."""
        self.step(batch)


class BeforeRestoring(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Takes the fingerprint of what training ended with, before any other callback's `on_train_end`.

    `EarlyStopping(restore_best_weights=True)` keeps one best epoch of the whole training. Where that lies in
    an earlier phase, weights which the last phase froze go back to what they were. That is what its user
    asked for, and not a fault of the last phase: that phase is closed before, and what came back is written
    down behind it.

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


def restores_values(callbacks: Iterable[Any]) -> bool:
    """Whether one of the callbacks may put earlier values back at the end."""
    return any(getattr(callback, "restore_best_weights", False) for callback in callbacks)


def phase_switch(
    schedule: Schedule,
    resolutions: tuple[Resolution, ...],
    ledger: Ledger,
    *,
    keep_state: bool = True,
    seldom_validated: bool = False,
) -> PhaseSwitch:
    """Return the callback that suits a schedule."""
    stepwise = any(phase.steps is not None for phase in schedule.phases)
    return (StepwisePhaseSwitch if stepwise else PhaseSwitch)(
        schedule, resolutions, ledger, keep_state=keep_state, seldom_validated=seldom_validated
    )
