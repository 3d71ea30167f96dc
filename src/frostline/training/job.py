"""What `fit` was asked to do, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from frostline.diagnostics.preflight import preflight
from frostline.diagnostics.second_look import SecondLook, second_look
from frostline.model.attached import Key
from frostline.optimizers.state import renewals_of, steps_made
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.resolution.parts import Parts
from frostline.resolution.resolution import Resolution
from frostline.trainability.apply import Applied, put_plan_on
from frostline.training.ledger import Ledger
from frostline.training.phases import PhaseSwitch, phase_switch
from frostline.training.receipt_of_run import data_digests
from frostline.training.watch.callback import Watch
from frostline.verification.fingerprint import fingerprint_of

GRADIENTS_SEEN: Key[bool] = Key("gradients seen")
"""Whether the last training of a model was checked for gradients."""


@dataclass(frozen=True, slots=True)
class Job:
    """What `fit` was asked to do.

    Attributes:
        model: The compiled model.
        plan: What it is to train under.
        resolutions: What that decided for each phase, or the one decision of a plan.
        x: As for `model.fit`.
        y: As for `model.fit`.
        arguments: All else for `model.fit`, as the user gave it.
        guard: Whether to take fingerprints.
        keep_state: Whether slots of weights that stop training are kept.
        stop_on_nan: Whether a loss that is NaN or infinite ends it.
        reachable: Whether it is known that each weight that trains can receive a gradient.
        unchecked: Why that was not looked at; empty where it was.
        watch: Watches it while it runs; None where nobody does.
        look_at_batch: Gets each batch before it is trained on; None where nobody wants it.
    """

    model: Any
    plan: Plan | Resolution | Schedule
    resolutions: tuple[Resolution, ...]
    x: Any
    y: Any
    arguments: Mapping[str, Any]
    guard: bool
    keep_state: bool
    stop_on_nan: bool
    reachable: bool = False
    unchecked: str = ""
    watch: Watch | None = None
    look_at_batch: Callable[[Any], None] | None = None

    def data(self) -> dict[str, str]:
        """Return digests of what is trained on."""
        return data_digests({"x": self.x, "y": self.y, "sample_weight": self.arguments.get("sample_weight")})

    def look_again(self, resolution: Resolution, asked: Sequence[str], measured: bool) -> SecondLook:
        """Look at the loss once more, after training: as `second_look` does."""
        weights = self.arguments.get("sample_weight")
        return second_look(self.model, resolution, asked, self.x, self.y, weights, measured=measured)

    def begin(self) -> Progress:
        """Put the first plan on the model and open the books."""
        said = len(renewals_of(self.model.optimizer))
        applied = put_plan_on(self.model, self.resolutions[0], keep_state=self.keep_state)
        notes = renewals_of(self.model.optimizer)[said:]
        parts = Parts.of(self.resolutions)
        before = fingerprint_of(self.resolutions[0].inventory, parts) if self.guard else None
        started = datetime.now(UTC).isoformat(timespec="seconds")
        ledger = Ledger(self.model, before, parts, steps_at_begin=steps_made(self.model.optimizer))
        return replace(Progress.of(self, ledger, started, applied=applied), notes=notes)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        ledger: What happened in the phases that have ended.
        switch: The callback that ends phases; None without a schedule.
        started: When training began, ISO 8601, UTC.
        clock: The monotonic time at which it would have begun had it never been interrupted.
        applied: The first plan and the way back from it; None of a run that goes on.
        notes: What was said when it began.
    """

    ledger: Ledger
    switch: PhaseSwitch | None
    started: str
    clock: float
    applied: Applied | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, job: Job, ledger: Ledger, started: str, seconds: float = 0.0, *, applied: Applied | None = None
    ) -> Progress:
        """Return the progress of a job that has taken some seconds so far."""
        ledger.reachable, ledger.unchecked = job.reachable, job.unchecked
        ledger.look = job.look_again
        switch = None
        if isinstance(job.plan, Schedule):
            switch = phase_switch(
                job.plan,
                job.resolutions,
                ledger,
                keep_state=job.keep_state,
                seldom_validated=job.arguments.get("validation_freq", 1) != 1,
            )
        return cls(ledger, switch, started, time.monotonic() - seconds, applied)

    @property
    def seconds(self) -> float:
        """How long training has taken, over all processes."""
        return round(time.monotonic() - self.clock, 3)


def look_at(job: Job) -> Job:
    """Raise where a weight that some phase trains can receive no gradient; return the job with what was seen.

    Raises:
        NoGradientError: With the explanation.
    """
    why = preflight(job.model, job.resolutions, job.x, job.y, job.arguments.get("sample_weight"))
    return replace(job, reachable=why == "", unchecked=why or "")
