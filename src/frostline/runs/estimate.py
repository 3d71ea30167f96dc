"""What a run would take, measured on a few steps: `frostline fit --dry-run`. Writes nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from rich.console import ConsoleRenderable

from frostline._keras.variables import to_numpy
from frostline.data.batches import Batches
from frostline.data.samples import Samples
from frostline.model.inventory import inventory
from frostline.plan.phase import Phase
from frostline.plan.schedule import Schedule
from frostline.render.tables import Rendered, bytes_text, count, stacked, table
from frostline.resolution.resolution import Resolution
from frostline.runs.config import RunConfig
from frostline.runs.prepare import Prepared, describe, prepare
from frostline.trainability.apply import applied

STEPS = 5
"""How many steps of each phase are measured, behind as many that compile and warm up."""


@dataclass(frozen=True, slots=True)
class PhaseEstimate:
    """What a phase would take.

    Attributes:
        phase: The phase, or one that stands for a single plan.
        resolution: What trains in it.
        steps: How many steps it takes at most; None where the data does not say.
        weights: Bytes of all weights.
        gradients: Bytes of the gradients of what trains.
        slots: Bytes that the optimizer keeps for what trains.
        first: Seconds until the first step is done, compiling included.
        step: Seconds for a step, measured.
        validation: Seconds for one pass over the validation data, measured on a few batches.
        epochs: How many epochs it takes at most.
    """

    phase: Phase
    resolution: Resolution = field(repr=False)
    steps: int | None
    weights: int
    gradients: int
    slots: int
    first: float
    step: float
    validation: float
    epochs: int

    @property
    def seconds(self) -> float | None:
        """How long it would take at most; None where the data does not say how many steps it has."""
        if self.steps is None:
            return None
        return self.first + self.steps * self.step + self.epochs * self.validation


@dataclass(frozen=True)
class Estimate(Rendered):
    """What a run would take. Prints as tables.

    Attributes:
        config: The run.
        headings: What it is about.
        phases: What each phase would take.
        peak: The most bytes of host memory that this process has held so far; None where it is not known.
    """

    config: RunConfig
    headings: tuple[tuple[str, str], ...]
    phases: tuple[PhaseEstimate, ...]
    peak: int | None

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, for JSON; times in seconds, memory in bytes."""
        return {
            "frostline": 1,
            "measured_steps": STEPS,
            "peak_process_memory": self.peak,
            "phases": [
                {
                    "name": one.phase.name,
                    "epochs": one.epochs,
                    "steps": one.steps,
                    "first_step_seconds": round(one.first, 4),
                    "step_seconds": round(one.step, 6),
                    "validation_seconds": round(one.validation, 4),
                    "seconds": None if one.seconds is None else round(one.seconds, 2),
                    "memory": {"weights": one.weights, "gradients": one.gradients, "optimizer": one.slots},
                    "resolution": one.resolution.to_data(),
                }
                for one in self.phases
            ],
        }

    def __rich__(self) -> ConsoleRenderable:
        parts: list[ConsoleRenderable | str] = [f"{heading:<10} {text}" for heading, text in self.headings]
        phased = isinstance(self.config.plan, Schedule)
        for one in self.phases:
            parts += ["", f"phase {one.phase}"] if phased else [""]
            parts.append(one.resolution.table())
        rows = [_row(one) for one in self.phases]
        columns = ("phase", "epochs", "steps", "weights", "gradients", "optimizer", "step", "time")
        parts += ["", table(columns, rows, numbers=columns[1:])]
        return stacked(*parts, "", *self._remarks())

    def _remarks(self) -> list[str]:
        seconds = [one.seconds for one in self.phases]
        known = [s for s in seconds if s is not None]
        most = "at most " if any(one.phase.until for one in self.phases) else ""
        remarks = []
        if len(known) == len(seconds):
            remarks.append(f"time: {most}about {duration(sum(known))}, compiling and validation included")
        remarks.append(
            f"  measured in this process on {count(STEPS, 'step')} of each phase; the values were restored"
        )
        total = max(one.weights + one.gradients + one.slots for one in self.phases)
        remarks.append(f"memory: at least {bytes_text(total)} for weights, gradients and optimizer")
        remarks.append("  counted, not measured; activations, which grow with batch_size, come on top")
        if self.peak is not None:
            remarks.append(
                f"  this process held {bytes_text(self.peak)} of main memory at its peak, all included"
            )
        return [*remarks, "nothing was written"]


def estimate(config: RunConfig) -> Estimate:
    """Measure a few steps of each phase.

    The model is built and the data loaded as for the run itself. Every value is put back afterwards.

    Args:
        config: The run.

    Raises:
        FrostlineError: Something does not fit, as for the run itself.
    """
    return measured(prepare(config))


def measured(prepared: Prepared) -> Estimate:
    """Measure a few steps of each phase of a run that is ready to begin; every value is put back."""
    batches = _Sample.of(prepared)
    found = [
        _phase(prepared, batches, *each)
        for each in zip(prepared.phases, prepared.resolutions, prepared.steps_of_phases, strict=True)
    ]
    # The tables below say of each phase what a heading would.
    headings = tuple(line for line in describe(prepared) if line[0] in ("model", "data"))
    return Estimate(prepared.config, headings, tuple(found), peak_memory())


def duration(seconds: float) -> str:
    """Say a time in units that suit it."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def peak_memory() -> int | None:
    """Return the most bytes of main memory that this process has held; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class _Sample:
    """A few steps' worth of the data, as arguments of `fit` and of `evaluate`."""

    fit: dict[str, Any]
    evaluate: dict[str, Any] | None
    batches: int | None
    steps: int

    @classmethod
    def of(cls, prepared: Prepared) -> _Sample:
        size = prepared.config.data.batch_size
        steps = min(STEPS, prepared.steps or STEPS)
        fit = _few(prepared.train, prepared.x, size, steps)
        validation = prepared.validation
        if validation is None:
            return cls(fit, None, None, steps)
        data = prepared.arguments["validation_data"]
        batches = math.ceil(len(validation) / size) if isinstance(validation, Samples) else _batches(data)
        evaluate = _few(validation, data, size, min(STEPS, batches or STEPS))
        return cls(fit, evaluate, batches, steps)


def _few(samples: Any, data: Any, size: int, steps: int) -> dict[str, Any]:
    if not isinstance(samples, Samples):
        return {"x": data, "steps": steps}
    chosen = samples.only(np.arange(min(size * steps, len(samples))))
    if isinstance(data, Batches):
        return {"x": Batches(chosen, size, None)}
    return {"x": chosen.x, "y": chosen.y, "sample_weight": chosen.weight, "batch_size": size}


def _batches(data: Any) -> int | None:
    return len(data) if hasattr(data, "__len__") else None


def _phase(
    prepared: Prepared, sample: _Sample, phase: Phase, resolution: Resolution, steps: int | None
) -> PhaseEstimate:
    model = prepared.model
    clock = _Clock()
    validation = 0.0
    with _values_put_back(model), applied(model, resolution):
        arguments = dict(sample.fit)
        given = arguments.pop("steps", None)
        model.fit(**arguments, steps_per_epoch=given, epochs=2, shuffle=False, verbose=0, callbacks=[clock])
        if sample.evaluate is not None:
            validation = _validation_seconds(model, sample)
    epochs = phase.epochs or math.ceil((phase.steps or 0) / (prepared.steps or 1))
    return PhaseEstimate(
        phase=phase,
        resolution=resolution,
        steps=steps,
        weights=sum(w.nbytes for w in resolution.inventory.of_role("weight", "statistic")),
        gradients=sum(d.weight.nbytes for d in resolution.trained),
        slots=resolution.optimizer_memory(model.optimizer),
        first=clock.first,
        step=clock.last / max(clock.steps, 1),
        validation=validation,
        epochs=epochs,
    )


def _validation_seconds(model: Any, sample: _Sample) -> float:
    assert sample.evaluate is not None
    model.evaluate(**sample.evaluate, verbose=0)
    began = time.perf_counter()
    model.evaluate(**sample.evaluate, verbose=0)
    measured = min(STEPS, sample.batches or STEPS)
    return (time.perf_counter() - began) / measured * (sample.batches or measured)


class _Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Takes the time of a first epoch, with compiling, and of a second one, without."""

    def on_train_begin(self, logs: Any = None) -> None:
        self._began = time.perf_counter()
        self.first = self.last = 0.0
        self.steps = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_began = time.perf_counter()
        self._epoch, self._counted = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        if self._epoch == 0 and not self.first:
            self.first = now - self._began
        self._counted = batch + 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.last, self.steps = time.perf_counter() - self._epoch_began, self._counted


@contextmanager
def _values_put_back(model: Any) -> Iterator[None]:
    """Give every variable of the model and the optimizer's counter the value they had."""
    held = [weight.variable for weight in inventory(model) if weight.is_held or weight.role == "state"]
    before = [(v, to_numpy(v)) for v in (*model.variables, *held, model.optimizer.iterations)]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _row(one: PhaseEstimate) -> tuple[str, ...]:
    return (
        one.phase.name,
        f"{one.epochs:,}",
        "unknown" if one.steps is None else f"{one.steps:,}",
        bytes_text(one.weights),
        bytes_text(one.gradients),
        bytes_text(one.slots),
        duration(one.step),
        "unknown" if one.seconds is None else duration(one.seconds),
    )
