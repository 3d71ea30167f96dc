"""Training that can be killed at any moment and goes on as if it had not been.

A run writes a checkpoint before its first epoch and at the end of each. It always goes on at the beginning of
an epoch: from there the same state gives the same epoch again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from frostline._keras.optimizers import optimizer_chain, optimizer_counters
from frostline._keras.trainers import epochs_gone_by
from frostline._keras.variables import to_numpy
from frostline.errors import NotFiniteError, ResumeError, listed
from frostline.optimizers.state import steps_made
from frostline.render.foreign import warn
from frostline.resolution.parts import Parts
from frostline.training.job import Job, Progress
from frostline.training.random_state import RandomState
from frostline.training.receipt_of_run import versions
from frostline.training.resume import checkpoint
from frostline.training.resume.callbacks import CallbackStates, CheckpointCallback
from frostline.training.resume.checkpoint import Checkpoint
from frostline.training.resume.configuration import configuration
from frostline.training.resume.differences import shortened
from frostline.training.resume.identity import (
    Comparison,
    compared,
    defaults_of_fit,
    identity,
    require_at_its_beginning,
    require_same,
    with_addresses,
)
from frostline.training.resume.renaming import renamed_checkpoint
from frostline.training.resume.replay import SilentCallbackList, must_be_read_again, steps_do_nothing
from frostline.training.resume.state import RunState, arrays_under, random_state_in, random_states_data
from frostline.training.run import Run
from frostline.training.train_loop import FitCall, fit_call, run_of, train
from frostline.verification.fingerprint import fingerprint_of

log = logging.getLogger("frostline")


def fit_resumably(job: Job, folder: Path, *, accept: bool = False) -> Run:
    """Train with checkpoints, going on with the run that a folder holds.

    Args:
        job: What to do.
        folder: Where checkpoints are, or will be.
        accept: Whether to go on with a run that began with other settings, where that is possible.

    Raises:
        ResumeError: The folder holds another run, is in use by one, or cannot be written to.
    """
    require_at_its_beginning(job.x)
    _refuse_backups(job)
    state = RunState(job)
    rate, now = _rate(job.model), _identity(state)
    with checkpoint.reserved(folder):
        saved = checkpoint.latest(folder)
        if saved is None:
            about = {"identity": now, "rate": rate, "callback classes": _callbacks(job)}
            return _train(_begun(state, folder, about))
        saved = renamed_checkpoint(saved, with_addresses(saved.state["identity"], now))
        found = compared(saved.state["identity"], now, defaults_of_fit(job.model))
        require_same(str(folder), found, accept=accept)
        _warn_of_another_rate(job.model, rate, saved)
        if saved.finished:
            return _end_again(state, folder, saved, found)
        about = {"identity": now, "rate": saved.state["rate"], **_told(found, saved, job)}
        return _train(_continued(state, folder, about, saved))


def _told(found: Comparison, saved: Checkpoint, job: Job) -> dict[str, Any]:
    """Return what a resumed run must say: what differed, and what could not be compared."""
    # What callbacks hold changes as they work, and some only report.
    callbacks = sorted({*saved.state.get("callback classes", ()), *_callbacks(job)})
    gaps = [f"callbacks: how {', '.join(callbacks)} are set, and what they do"] if callbacks else []
    for gap in (*found.not_compared, *gaps):
        log.info("not compared: %s", gap)
    changed = [f"from epoch {saved.epoch}: {one}" for one in found.changed]
    return {
        "changed": [*saved.state.get("changed", ()), *changed],
        "not compared": list(
            dict.fromkeys([*saved.state.get("not compared", ()), *found.not_compared, *gaps])
        ),
        "callback classes": callbacks,
    }


@dataclass(frozen=True, slots=True)
class _Session:
    """One process's part of a run, ready to train.

    Attributes:
        state: The model and the optimizer, and what of them checkpoints hold.
        folder: Where checkpoints are.
        about: What goes from checkpoint to checkpoint: the run's identity, and the rate that it began with.
        progress: How far the run is; the plan of its phase is on the model.
        start: The random state that the run began with.
        saved: The checkpoint that it goes on from; None where it begins here.
        said: What was said of checkpoints that were not written.
    """

    state: RunState
    folder: Path
    about: Mapping[str, Any]
    progress: Progress
    start: RandomState
    saved: Checkpoint | None = None
    said: list[str] = field(default_factory=list)

    @property
    def job(self) -> Job:
        """What is to be done."""
        return self.state.job

    @property
    def first_epoch(self) -> int:
        """The epoch that the run begins with, not this process."""
        return int(self.job.arguments.get("initial_epoch", 0))

    @property
    def interrupted(self) -> Checkpoint | None:
        """The checkpoint, where an epoch had ended before it; else all is as at the beginning of the run."""
        return self.saved if self.saved is not None and self.saved.epoch != self.first_epoch else None

    def checkpoint(
        self, epoch: int, callbacks: CallbackStates, *, finished: bool = False, **more: Any
    ) -> Checkpoint:
        """Return a checkpoint of what is now.

        Args:
            epoch: The index of the epoch that comes next.
            callbacks: Their states are in it.
            finished: Whether the run is over.
            **more: Goes to the state as it is.
        """
        state, arrays = self.state.capture(self.progress)
        random, drawn = random_states_data(start=self.start, now=RandomState.now())
        remembered, best = callbacks.capture(self.state.places)
        arrays |= drawn | {f"callbacks/{name}": value for name, value in best.items()}
        state |= random | {**self.about, "rate now": _rate(self.job.model), **remembered, **more}
        return Checkpoint(epoch, state, arrays, finished)

    def write(self, taken: Checkpoint, spoilt: Sequence[str] = ()) -> None:
        """Write a checkpoint, or warn: a full disk must not cost the run as well.

        Args:
            taken: The checkpoint.
            spoilt: What is NaN or infinite now and was not when the run began: then none is written.
        """
        if found := _not_finite(taken, spoilt):
            if not self.said:
                self.said.append(found)
                warn(
                    f"no checkpoint is written from epoch {taken.epoch} on, since numbers became NaN or "
                    f"infinite: {found}; the one before is kept, and the training continues",
                    stacklevel=2,
                )
            return
        try:
            checkpoint.write(self.folder, taken)
        except ResumeError as problem:
            warn(f"{problem.what}; the training continues, and the previous checkpoint is kept", stacklevel=2)


def _not_finite(taken: Checkpoint, spoilt: Sequence[str]) -> str:
    """Say what of a checkpoint holds NaN or infinity that training brought; empty where nothing does."""
    if spoilt:
        return listed(spoilt)
    try:
        checkpoint.require_finite(taken)
    except ValueError as problem:
        return str(problem)
    return ""


def _begun(state: RunState, folder: Path, about: Mapping[str, Any]) -> _Session:
    """Begin a run: put its first plan on the model, and write the checkpoint that stands before any epoch."""
    session = _Session(state, folder, about, state.job.begin(), RandomState.now())
    # Here, and here only, a checkpoint that cannot be written is an error: nothing is lost yet.
    checkpoint.write(folder, session.checkpoint(session.first_epoch, CallbackStates.of(())))
    return session


def _continued(state: RunState, folder: Path, about: Mapping[str, Any], saved: Checkpoint) -> _Session:
    """Put the model, the optimizer and the phase to where a checkpoint left them."""
    progress, start = state.restore(saved), random_state_in(saved, "start")
    # A source of data that is read again draws what it drew in the first process.
    start.restore()
    log.info("continuing the run in %s at epoch %d", folder, saved.epoch)
    return _Session(state, folder, about, progress, start, saved)


def _end_again(state: RunState, folder: Path, saved: Checkpoint, found: Comparison) -> Run:
    """Put the end of a finished run on the model, and return what it returned."""
    job, progress = state.job, state.restore(saved)
    callbacks = CallbackStates.of(())
    callbacks.restore_history(saved.state)
    job.model.history = callbacks.history
    random_state_in(saved, "now").restore()
    _watched_again(job, saved)
    warn(
        f"the run in {str(folder)!r} is finished: its final state was restored, and nothing was trained; "
        "name another folder to train again"
        + (f"; it was trained before this changed: {shortened(found.changed)}" if found.changed else ""),
        stacklevel=4,
    )
    for gap in found.not_compared:
        log.info("not compared: %s", gap)
    return run_of(
        job,
        progress,
        callbacks.history,
        versions=saved.state["versions"],
        seconds=saved.state["seconds"],
        resumed=saved.epoch,
        changed=saved.state.get("changed", ()),
        not_compared=tuple(dict.fromkeys([*saved.state.get("not compared", ()), *found.not_compared])),
    )


def _watched_again(job: Job, saved: Checkpoint) -> None:
    """Give back what was seen of a finished run while it trained, or say that nobody looked."""
    if job.watch is None:
        return
    job.watch.set_model(job.model)
    kind = type(job.watch).__name__
    records = (one for one in saved.state["callbacks"] if one["class"] == kind and "own" in one)
    if (record := next(records, None)) is not None:
        job.watch.load_state_dict(record["own"])
    else:
        job.watch.note("the run was finished before, and was not watched")


def _train(session: _Session) -> Run:
    job, progress, folder = session.job, session.progress, session.folder
    after_nan = f"the model was restored from the checkpoint in {str(folder)!r}, taken before that epoch"
    plain_call = fit_call(job, progress, after_nan=after_nan)
    callbacks = CallbackStates.of(plain_call.callbacks)
    try:
        with _recording(session, plain_call, callbacks) as call:
            history = train(job, progress, call)
    except NotFiniteError:
        if (good := checkpoint.latest(folder)) is not None:
            session.state.restore(good)
        raise
    told: dict[str, Any] = {"versions": versions(), "seconds": progress.seconds}
    resumed = session.saved.epoch if session.saved is not None else None
    differed = {
        "changed": session.about.get("changed", ()),
        "not_compared": session.about.get("not compared", ()),
    }
    run = run_of(job, progress, history, **told, **differed, resumed=resumed)
    last = history.epoch[-1] + 1 if history.epoch else session.first_epoch
    session.write(session.checkpoint(last, callbacks, finished=True, **told), plain_call.finite.spoilt())
    return run


@contextmanager
def _recording(session: _Session, call: FitCall, callbacks: CallbackStates) -> Iterator[FitCall]:
    """Give the call of `model.fit` that records each epoch, and that goes on where the checkpoint says."""
    job, saved = session.job, session.interrupted
    epochs = call.arguments.get("epochs", 1)
    if saved is not None and saved.state.get("stopped"):
        epochs = saved.epoch
    more_to_do = saved is not None and saved.epoch < epochs
    reads_again = more_to_do and must_be_read_again(job.x, job.y, job.arguments)

    def begin() -> None:
        if saved is None:
            return
        best = arrays_under(saved.arrays, "callbacks/")
        callbacks.restore(saved.state, best, session.state.places, job.model.get_weights())
        if not reads_again:
            random_state_in(saved, "now").restore()

    def record(epoch: int, stopped: bool) -> None:
        session.write(session.checkpoint(epoch, callbacks, stopped=stopped), call.finite.spoilt())

    call = replace(call, callbacks=[*callbacks.with_history, CheckpointCallback(begin, record)])
    if saved is None:
        yield call
        return
    callbacks.append_to_logs()
    call = replace(call, arguments={**call.arguments, "epochs": epochs})
    if reads_again:
        log.info("reading the data of %d epochs again", saved.epoch - session.first_epoch)
        with _reading_again(job.model, saved, call) as call:
            yield call
    else:
        with epochs_gone_by(saved.epoch - session.first_epoch):
            yield replace(call, arguments={**call.arguments, "initial_epoch": saved.epoch})


@contextmanager
def _reading_again(model: Any, saved: Checkpoint, call: FitCall) -> Iterator[FitCall]:
    """Give the call that reads the data of the epochs before a checkpoint without training on it."""
    with steps_do_nothing(model) as end:

        def opened() -> None:
            end()
            random_state_in(saved, "now").restore()

        verbose = call.arguments.get("verbose", "auto")
        silent = SilentCallbackList(
            call.callbacks,
            first=saved.epoch,
            opened=opened,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=call.arguments["epochs"],
            steps=None,
            model=model,
        )
        yield replace(call, callbacks=silent)


def _identity(state: RunState) -> dict[str, Any]:
    """Return all that must be the same for a run to be continued."""
    job, parts = state.job, Parts.of(state.job.resolutions)
    before = fingerprint_of(job.resolutions[0].inventory, parts)
    arguments = {**job.arguments, "guard": job.guard, "keep_state": job.keep_state}
    changing = [weight.address for weight in state.moving]
    sources = {name: job.arguments.get(name) for name in ("sample_weight", "validation_data")}
    made_of = configuration(job.model, job.resolutions[0].inventory, {"x": job.x, "y": job.y, **sources})
    return identity(job.model, job.plan, before, parts.over_all, changing, job.data(), arguments, made_of)


def _callbacks(job: Job) -> list[str]:
    """Return the names of the classes of the user's callbacks."""
    given = job.arguments.get("callbacks")
    flat = keras.tree.flatten(getattr(given, "callbacks", given))
    return sorted({type(one).__name__ for one in flat if one is not None})


def _rate(model: Any) -> float | None:
    """Return the learning rate of a compiled model; None where a schedule decides it."""
    counters = optimizer_counters(optimizer_chain(model.optimizer)[-1])
    return float(to_numpy(counters[1])) if len(counters) > 1 else None


def _warn_of_another_rate(model: Any, rate: float | None, saved: Checkpoint) -> None:
    """Say that the rate of the checkpoint holds, where another was asked for and not come to by training."""
    now = saved.state["rate now"]
    if steps_made(model.optimizer) == 0 and rate not in (saved.state["rate"], now):
        warn(
            f"the learning rate given ({rate:g}) is ignored: the resumed run, which began with "
            f"{saved.state['rate']:g}, continues with {now:g}",
            stacklevel=4,
        )


def _refuse_backups(job: Job) -> None:
    callbacks = keras.tree.flatten(job.arguments.get("callbacks"))
    if any(isinstance(one, keras.callbacks.BackupAndRestore) for one in callbacks):
        raise ResumeError(
            "BackupAndRestore cannot be combined with resume",
            received="a BackupAndRestore among the callbacks",
            remedy="remove it: resume restores the run by itself",
        )
