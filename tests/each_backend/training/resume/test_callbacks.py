"""Callbacks of runs that go on: what they counted, what was best, and the files that they write."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pytest

from frostline import Phase, Schedule
from frostline.errors import ResumeError
from helpers.interrupted_runs import (
    HEAD,
    PHASES,
    Interrupt,
    Interrupted,
    fit_plan,
    plain_net,
    require_interruptible,
    some_moments,
)


class Counter(keras.callbacks.Callback):
    """Counts epochs, and lowers the rate by its count."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1
        logs["count"] = self.epochs
        self.model.optimizer.learning_rate = 0.1 / self.epochs

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


def test_callbacks_with_a_state_of_their_own(tmp_path: Path) -> None:
    run = require_interruptible(partial(fit_plan, callbacks=lambda: [Counter()]), tmp_path, some_moments(4))
    assert run.history.history["count"] == [1, 2, 3, 4]


def test_early_stopping_counts_on_and_restores_its_best(tmp_path: Path) -> None:
    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = (3, 1, 2, 4, 5, 0)[epoch]

    def callbacks() -> list[Any]:
        stop = keras.callbacks.EarlyStopping("score", mode="min", patience=3, restore_best_weights=True)
        return [Scores(), stop]

    fit = partial(fit_plan, epochs=6, callbacks=callbacks)
    run = require_interruptible(fit, tmp_path, [*some_moments(5), (4, "train end")])
    assert run.history.epoch == [0, 1, 2, 3, 4]


def test_a_best_epoch_in_an_earlier_phase(tmp_path: Path) -> None:
    """What was put back behind the last phase is in the books of a finished run, too."""

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = (3, 1, 2, 4)[epoch]

    def callbacks() -> list[Any]:
        return [Scores(), keras.callbacks.EarlyStopping("score", mode="min", restore_best_weights=True)]

    phases = (*PHASES[::2], Phase("never", epochs=1))
    fit = partial(fit_plan, make=plain_net, plan=Schedule(HEAD, phases), callbacks=callbacks)
    run = require_interruptible(fit, tmp_path, [(1, "middle"), (2, "begin")])
    assert [p.name for p in run.phases] == ["head", "all", "best weights restored"]
    with pytest.warns(UserWarning, match="is finished"):
        _, again = fit(resume=tmp_path, interrupt=[])
    assert again.phases == run.phases
    assert again.receipt.to_data() == run.receipt.to_data()


def test_files_of_callbacks_go_on(tmp_path: Path) -> None:
    """A log keeps its rows, and the best checkpoint of Keras's own is only replaced by a better one."""
    log, best = tmp_path / "log.csv", tmp_path / "best.weights.h5"
    loggers: list[Any] = []

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = (1, 3, 2, 4)[epoch]

    def callbacks() -> list[Any]:
        save = keras.callbacks.ModelCheckpoint(
            str(best), monitor="score", mode="min", save_best_only=True, save_weights_only=True
        )
        loggers.append(keras.callbacks.CSVLogger(str(log)))
        return [Scores(), loggers[-1], save]

    for moment in ((1, "begin"), (2, "begin")):
        with pytest.raises(Interrupted):
            fit_plan(tmp_path / "run", [Interrupt(*moment)], callbacks=callbacks)
        loggers[-1].csv_file.close()
        written = best.stat().st_mtime_ns
    fit_plan(tmp_path / "run", [], callbacks=callbacks)
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == list("0123")
    assert best.stat().st_mtime_ns == written


def test_a_callback_that_is_new_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit_plan(tmp_path, [Interrupt(2, "begin")])
    _, run = fit_plan(tmp_path, [], callbacks=lambda: [Counter()])
    assert run.resumed == 2
    assert run.history.history["count"] == [1, 2]


def test_frostline_refuses_a_second_way_of_resuming(tmp_path: Path) -> None:
    with pytest.raises(ResumeError) as caught:
        fit_plan(tmp_path / "run", [keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    assert str(caught.value) == (
        "BackupAndRestore cannot be combined with resume.\n"
        "  received: a BackupAndRestore among the callbacks\n"
        "  fix:      remove it: resume restores the run by itself"
    )
