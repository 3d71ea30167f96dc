"""Training that can be killed at any moment and goes on as if it had not been.

A run writes a checkpoint before its first epoch and at the end of each. It always goes on at the beginning of
an epoch: from there the same state gives the same epoch again.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import keras

from frostline._keras.optimizers import optimizer_chain, optimizer_counters
from frostline.errors import NotFiniteError, ResumeError
from frostline.optimizers import rebuild as optimizer
from frostline.resolution.parts import Parts
from frostline.training.fit import run_of, train
from frostline.training.job import Job
from frostline.training.receipt_of_run import versions
from frostline.training.recorder import Recorder
from frostline.training.resume import callbacks as callback_states
from frostline.training.resume import checkpoint
from frostline.training.resume import replay as rereading
from frostline.training.resume.checkpoint import Checkpoint
from frostline.training.resume.identity import identity, plain, require_at_its_beginning, require_same
from frostline.training.resume.random_state import Randomness
from frostline.training.resume.state import Subject, part, randomness, with_randomness
from frostline.training.run import Run
from frostline.verification.fingerprint import fingerprint_of

log = logging.getLogger("frostline")


def fit_resumably(job: Job, folder: Path) -> Run:
    """Train with checkpoints, going on with the run that a folder holds.

    Args:
        job: What to do.
        folder: Where checkpoints are, or will be.

    Raises:
        ResumeError: The folder holds another run, is in use by one, or cannot be written to.
    """
    require_at_its_beginning(job.x)
    _refuse_backups(job)
    subject = Subject(job)
    parts = Parts.of(job.resolutions)
    before = fingerprint_of(job.resolutions[0].inventory, parts)
    rate = _rate(job.model)
    arguments = {**job.arguments, "guard": job.guard, "keep_state": job.keep_state}
    changing = [w.address for w in subject.moving]
    now = identity(job.model, job.plan, before, parts.over_all, changing, job.data(), arguments)
    with checkpoint.reserved(folder):
        saved = checkpoint.latest(folder)
        session = _Session(job, folder, subject, {"identity": now, "rate": rate}, saved)
        if saved is None:
            return session.begin()
        require_same(str(folder), saved.state["identity"], now)
        _warn_of_another_rate(job.model, rate, saved)
        return session.end_again(saved) if saved.finished else session.go_on(saved)


class _Session:
    """One process's part of a run."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        subject: Subject,
        about: dict[str, Any],
        saved: Checkpoint | None = None,
    ) -> None:
        self._job = job
        self._folder = folder
        self._subject = subject
        # The rate that the run began with goes from checkpoint to checkpoint.
        self._about = about if saved is None else {**about, "rate": saved.state["rate"]}
        self._saved = saved
        self._first_epoch = int(job.arguments.get("initial_epoch", 0))
        self._history = keras.callbacks.History()
        self._callbacks: list[Any] = []

    def begin(self) -> Run:
        """Train from the first epoch on."""
        self._progress = self._job.begin()
        self._start = Randomness.now()
        checkpoint.write(self._folder, self._checkpoint(self._first_epoch))
        return self._train()

    def go_on(self, saved: Checkpoint) -> Run:
        """Train from a checkpoint on."""
        self._progress = self._subject.restore(saved)
        self._start = randomness(saved, "start")
        self._start.restore()
        log.info("going on with the run in %s at epoch %d", self._folder, saved.epoch)
        return self._train()

    def end_again(self, saved: Checkpoint) -> Run:
        """Put the end of a finished run on the model, and return what it returned."""
        progress = self._subject.restore(saved)
        self._restore_history(saved)
        self._job.model.history = self._history
        randomness(saved, "now").restore()
        warnings.warn(
            f"the run in {str(self._folder)!r} is finished: its end was put on the model, and nothing was "
            "trained; name another folder to train again",
            stacklevel=4,
        )
        told = {"versions": saved.state["versions"], "seconds": saved.state["seconds"]}
        return run_of(self._job, progress, self._history, told, resumed=saved.epoch)

    def _train(self) -> Run:
        with ExitStack() as stack:
            kept = f"the model is as in the checkpoint in {str(self._folder)!r} again, from before that epoch"
            try:
                history = train(self._job, self._progress, partial(self._prepare, stack), kept=kept)
            except NotFiniteError:
                if (good := checkpoint.latest(self._folder)) is not None:
                    self._subject.restore(good)
                raise
        resumed = self._saved.epoch if self._saved is not None else None
        told = {"versions": versions(), "seconds": self._progress.seconds}
        run = run_of(self._job, self._progress, history, told, resumed=resumed)
        last = history.epoch[-1] + 1 if history.epoch else self._first_epoch
        self._write(self._checkpoint(last, finished=True, **told))
        return run

    def _prepare(self, stack: ExitStack, callbacks: list[Any]) -> dict[str, Any]:
        """Return the arguments of `model.fit` that make it record, and go on where the checkpoint says."""
        self._callbacks = list(callbacks)
        own = next((c for c in callbacks if isinstance(c, keras.callbacks.History)), None)
        self._history = own or self._history
        histories = [] if own else [self._history]
        callbacks = [*callbacks, *histories, Recorder(self._enter, self._record)]
        saved = self._saved
        if saved is None or saved.epoch == self._first_epoch:
            return {"callbacks": callbacks}
        callback_states.append_to_logs(callbacks)
        switch, given = self._progress.switch, self._job.arguments
        epochs = switch.most_epochs if switch is not None else given.get("epochs", 1)
        epochs = saved.epoch if saved.state.get("stopped") else epochs
        self._rereads = saved.epoch < epochs and rereading.is_needed(self._job.x, self._job.y, given)
        if not self._rereads:
            return {"callbacks": callbacks, "initial_epoch": saved.epoch, "epochs": epochs}
        log.info("reading the data of %d epochs again", saved.epoch - self._first_epoch)
        end = stack.enter_context(rereading.steps_do_nothing(self._job.model))
        verbose = given.get("verbose", "auto")
        silent = rereading.Silent(
            callbacks,
            first=saved.epoch,
            opened=partial(self._open, saved, end),
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=None,
            model=self._job.model,
        )
        return {"callbacks": silent, "epochs": epochs}

    def _enter(self) -> None:
        """Give history and callbacks back what they knew, after they were told that training begins."""
        saved = self._saved
        if saved is None or saved.epoch == self._first_epoch:
            return
        self._restore_history(saved)
        callback_states.restore(
            self._callbacks,
            saved.state["callbacks"],
            part(saved.arrays, "callbacks/"),
            self._subject.places,
            self._job.model.get_weights(),
        )
        if not self._rereads:
            randomness(saved, "now").restore()

    def _open(self, saved: Checkpoint, end: Callable[[], None]) -> None:
        end()
        randomness(saved, "now").restore()

    def _restore_history(self, saved: Checkpoint) -> None:
        self._history.history = {name: list(held) for name, held in saved.state["history"].items()}
        self._history.epoch = list(saved.state["epochs"])

    def _record(self, epoch: int, stopped: bool) -> None:
        self._write(self._checkpoint(epoch, stopped=stopped))

    def _write(self, taken: Checkpoint) -> None:
        try:
            checkpoint.write(self._folder, taken)
        except ResumeError as problem:
            # A full disk must not cost the run as well.
            said = f"{problem.what}; the training goes on, and the checkpoint before stays"
            warnings.warn(said, stacklevel=2)

    def _checkpoint(self, epoch: int, *, finished: bool = False, **more: Any) -> Checkpoint:
        state, arrays = self._subject.take(self._progress)
        with_randomness(state, arrays, start=self._start, now=Randomness.now())
        records, remembered = callback_states.capture(self._callbacks, self._subject.places)
        arrays |= {f"callbacks/{name}": value for name, value in remembered.items()}
        state |= {
            **self._about,
            "rate now": _rate(self._job.model),
            "history": plain(self._history.history),
            "epochs": list(getattr(self._history, "epoch", ())),
            "callbacks": records,
            **more,
        }
        return Checkpoint(epoch, state, arrays, finished)


def _rate(model: Any) -> float | None:
    """Return the learning rate of a compiled model; None where a schedule decides it."""
    counters = optimizer_counters(optimizer_chain(model.optimizer)[-1])
    return float(keras.ops.convert_to_numpy(counters[1])) if len(counters) > 1 else None


def _warn_of_another_rate(model: Any, rate: float | None, saved: Checkpoint) -> None:
    """Say that the rate of the checkpoint holds, where another was asked for and not come to by training."""
    now = saved.state["rate now"]
    if optimizer.steps_made(model.optimizer) == 0 and rate not in (saved.state["rate"], now):
        warnings.warn(
            f"the optimizer was given with a learning rate of {rate:g}; the run began with "
            f"{saved.state['rate']:g} and goes on with its own, {now:g}",
            stacklevel=4,
        )


def _refuse_backups(job: Job) -> None:
    callbacks = keras.tree.flatten(job.arguments.get("callbacks"))
    if any(isinstance(one, keras.callbacks.BackupAndRestore) for one in callbacks):
        raise ResumeError(
            "BackupAndRestore and resume would each go on with the training in a way of its own",
            received="a BackupAndRestore among the callbacks",
            remedy="leave it out: resume does what it does, and restores the rest of a run as well",
        )
