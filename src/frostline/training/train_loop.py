"""One call of `model.fit` under a plan: its callbacks, the call itself, and what is written down after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from frostline._keras.calls import outputs_known
from frostline._keras.trainers import own_buffers, steps_watched, sync_values, values_kept
from frostline.errors import text_of
from frostline.plan.schedule import Schedule
from frostline.resolution.resolution import Resolution
from frostline.trainability.plan_on_model import keep_functions
from frostline.training.finite_state import FiniteState
from frostline.training.good_values import GoodValues, keeps_values
from frostline.training.guards import guarded, layers_made_in_call
from frostline.training.job import GRADIENTS_SEEN, Job, Progress
from frostline.training.missing_gradients import no_gradient
from frostline.training.nan_guard import SPOILT, FiniteGuard, save_between_steps, stops_already
from frostline.training.phases import BeforeRestoring, restores_values
from frostline.training.receipt_of_run import receipt_of
from frostline.training.run import Run


@dataclass(frozen=True, slots=True)
class FitCall:
    """A call of `model.fit` that is ready to be made.

    Attributes:
        arguments: All that `model.fit` takes beside data and callbacks.
        callbacks: The user's and Frostline's, in order; or a `keras.callbacks.CallbackList` of them.
        finite: Knows what was finite at the start.
        before_restoring: The one among them that sees the model before others put earlier values back; None
            where nobody does.
        begin_steps: What `steps_watched` calls; None where steps are not watched.
    """

    arguments: Mapping[str, Any]
    callbacks: Any
    finite: FiniteState
    before_restoring: BeforeRestoring | None = None
    begin_steps: Callable[[], Callable[[Any], None]] | None = None


def fit_call(job: Job, progress: Progress, *, after_nan: str = SPOILT) -> FitCall:
    """Return the call of `model.fit` that does a job.

    Args:
        job: What to do.
        progress: How far it is.
        after_nan: What to do about the weights where training makes them NaN.
    """
    arguments, switch = dict(job.arguments), progress.switch
    callbacks = guarded(arguments.pop("callbacks", None))
    if job.watch is not None and not any(one is job.watch for one in callbacks):
        # First, so that all others find what it adds to the logs.
        callbacks.insert(0, job.watch)
    progress.ledger.finite = job.stop_on_nan and not stops_already(callbacks)
    finite, begin_steps = FiniteState(job.model), None
    if progress.ledger.finite:
        # First, so that no callback saves what training has spoilt.
        each_step = save_between_steps(callbacks)
        nan_guard = FiniteGuard(job.x, job.y, finite, after_nan=after_nan, each_step=each_step)
        callbacks.insert(0, nan_guard)
        begin_steps = nan_guard.begin_steps
    elif switch is not None or keeps_values(callbacks):
        callbacks.insert(0, GoodValues(finite, callbacks))
    before_restoring = None
    if switch is not None:
        if job.guard and restores_values(callbacks):
            before_restoring = BeforeRestoring(progress.ledger.now)
            callbacks.insert(0, before_restoring)
        switch.spoilt = finite.spoilt if not progress.ledger.finite else None
        switch.listeners = tuple(c for c in callbacks if hasattr(c, "on_phase_begin"))
        # Last, so that all others see an epoch under the plan that it was trained under.
        callbacks.append(switch)
        arguments["epochs"] = switch.most_epochs
    return FitCall(arguments, callbacks, finite, before_restoring, begin_steps)


def train(job: Job, progress: Progress, call: FitCall) -> Any:
    """Call `model.fit` and write down what the last phase did.

    Args:
        job: What to do.
        progress: How far it is; its plan is on the model.
        call: How `model.fit` is called.

    Returns:
        The `keras.callbacks.History`.
    """
    switch, ledger = progress.switch, progress.ledger
    resolution = job.resolutions[switch.number if switch is not None else 0]
    history = _fit(job, resolution, call)
    if switch is None:
        epochs = len(history.epoch)
        ledger.close(job.model.name, resolution, epochs, stepped=bool(epochs))
        return history
    seen = call.before_restoring
    ledger.close(
        switch.phase.name,
        switch.resolution,
        switch.epochs,
        stepped=switch.stepped,
        after=seen.after if seen is not None else None,
    )
    if seen is not None:
        ledger.close_restored()
    history.history["phase"] = switch.phase_of_epoch
    return history


def run_of(
    job: Job,
    progress: Progress,
    history: Any,
    *,
    versions: Mapping[str, str],
    seconds: float,
    resumed: int | None = None,
    changed: Iterable[str] = (),
    not_compared: Iterable[str] = (),
) -> Run:
    """Return what a job did, after its end.

    Args:
        job: What was to be done.
        progress: With all phases closed.
        history: What `train` returned.
        versions: For the receipt: of all that decided the numbers.
        seconds: For the receipt: how long training took.
        resumed: As `Run` has it.
        changed: The same.
        not_compared: The same.
    """
    runs = tuple(progress.ledger.runs)
    names = [phase.name for phase in job.plan.phases] if isinstance(job.plan, Schedule) else []
    not_run = tuple(name for name in names if name not in {run.name for run in runs})
    differed = {"changed": tuple(changed), "not_compared": tuple(not_compared)}
    unchecked = progress.ledger.unchecked
    GRADIENTS_SEEN.attach(job.model, not unchecked)
    said: dict[str, Any] = {"notes": progress.notes, "gradients_not_checked": unchecked, **differed}
    if job.watch is not None:
        said |= {"watched": job.watch.watched, "findings": job.watch.findings}
    if progress.ledger.before is None:
        return Run(history, runs[-1].resolution, None, None, runs, resumed, not_run, **said)
    receipt = receipt_of(
        progress.ledger,
        job.plan,
        data=job.data(),
        versions=versions,
        started=progress.started,
        seconds=seconds,
        gradients_not_checked=unchecked,
        **differed,
    )
    return Run(history, runs[-1].resolution, receipt.verification, receipt, runs, resumed, not_run, **said)


def _fit(job: Job, resolution: Resolution, call: FitCall) -> Any:
    model, arguments = job.model, dict(call.arguments)
    if call.callbacks:
        arguments["callbacks"] = call.callbacks
    watched: AbstractContextManager[None] = nullcontext()
    if call.begin_steps is not None or job.look_at_batch is not None:
        watched = steps_watched(model, call.begin_steps, before=job.look_at_batch)
    with _explained(model, resolution), outputs_known(model), watched:
        history = model.fit(job.x, job.y, **arguments)
    sync_values(model)
    own_buffers(model)
    keep_functions(model)
    return history


@contextmanager
def _explained(model: Any, resolution: Resolution) -> Iterator[None]:
    """Say the same on every backend where training cannot work, and leave the model's values readable."""
    with values_kept(model), layers_made_in_call(model, resolution.inventory):
        try:
            yield
        except (ValueError, RuntimeError) as error:
            # What TensorFlow and PyTorch say where the loss depends on no trained weight.
            said = ("No gradients provided for any variable", "does not require grad")
            if not any(text in text_of(error) for text in said):
                raise
            raise no_gradient(model, [d.weight.address for d in resolution.trained]) from error
