"""Runs killed with SIGKILL at random moments, and their undisturbed twin. Prints what came out as JSON.

    python killing.py FOLDER KILLS_IN_EACH_PHASE SEED

Every run has a process of its own, forked from this one, which has imported the backend and run nothing
on it.
"""

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

import frostline as fl
from frostline import Phase, Plan, Schedule

STEPS = 6
"""Steps in an epoch."""

SCHEDULE = Schedule(
    Plan().train("c/**"),
    (
        Phase("head", epochs=3),
        Phase("middle", steps=15, lr=0.5).train("b/**").train("bn/**"),
        Phase("all", epochs=2).train("**"),
    ),
)
SPANS = {"head": (0, 18), "middle": (18, 33), "all": (33, 48)}
"""Which steps a phase has; the rest of an epoch that begins in one phase belongs to the next."""


def build() -> keras.Model:
    """Dropout, moving statistics, averages, a shared dense trunk: all that has a state of its own."""
    keras.utils.set_random_seed(11)
    inputs = keras.Input((6,))
    value = keras.layers.Dense(16, activation="relu", name="a")(inputs)
    value = keras.layers.Dropout(0.2, name="drop")(keras.layers.BatchNormalization(name="bn")(value))
    value = keras.layers.Dense(16, activation="tanh", name="b")(value)
    model = keras.Model(inputs, keras.layers.Dense(2, name="c")(value), name="net")
    model.compile(keras.optimizers.AdamW(0.02, weight_decay=0.05, use_ema=True, ema_momentum=0.9), "mse")
    return model


class KillAt(keras.callbacks.Callback):
    """Ends this process without warning, some time after a certain step began."""

    def __init__(self, step: int, delay: float) -> None:
        super().__init__()
        self._left = step
        self._delay = delay

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._left == 0:
            threading.Thread(target=self._kill, daemon=True).start()
        self._left -= 1

    def _kill(self) -> None:
        time.sleep(self._delay)
        os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path | None, result: Path, kill: KillAt | None = None) -> None:
    """Train to the end, or until killed, and write down what came out."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(STEPS * 8, 6)).astype("float32")
    y = rng.normal(size=(STEPS * 8, 2)).astype("float32")
    model = build()
    callbacks = [keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=1.0)]
    more: dict[str, Any] = {"callbacks": [*callbacks, kill] if kill else callbacks}
    run = fl.fit(model, SCHEDULE, x, y, batch_size=8, verbose=0, resume=folder, **more)
    variables = (*model.variables, *model.optimizer.variables)
    values = {f"{n}": np.asarray(keras.ops.convert_to_numpy(v)) for n, v in enumerate(variables)}
    np.savez(result, **values)
    problems = run.receipt.check(after=fl.fingerprint(model))
    told = {"history": run.history.history, "resumed": run.resumed, "problems": problems}
    result.with_suffix(".json").write_text(json.dumps(told))


def in_a_process(work: Callable[[], None]) -> bool:
    """Do something in a process of its own; whether it came to its end, and was not killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking a process with threads: they are idle
        child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0, "a run failed"
    return True


def difference(one: Path, other: Path) -> float:
    """The largest difference between two results, which must be of the same shape."""
    a, b = np.load(one), np.load(other)
    assert a.files == b.files
    return max(float(np.abs(a[n].astype("float64") - b[n].astype("float64")).max(initial=0)) for n in a.files)


def main(folder: Path, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    whole = folder / "whole.npz"
    assert in_a_process(partial(train, None, whole))
    history = json.loads(whole.with_suffix(".json").read_text())["history"]
    report = []
    for phase, (first, end) in SPANS.items():
        for number in range(kills):
            run, result = folder / f"{phase}{number}", folder / f"{phase}{number}.npz"
            step, delay = dice.randrange(first, end), dice.uniform(0, 0.02)
            deaths = 0
            kill: KillAt | None = KillAt(step, delay)
            while not in_a_process(partial(train, run, result, kill)):
                deaths += 1
                # Some die again after they were resumed.
                kill = KillAt(dice.randrange(6), 0.0) if dice.random() < 0.25 else None
            told = json.loads(result.with_suffix(".json").read_text())
            report.append(
                {
                    "phase": phase,
                    "step": step,
                    "deaths": deaths,
                    "resumed": told["resumed"],
                    "difference": difference(result, whole),
                    "same history": told["history"] == history,
                    "problems": told["problems"],
                }
            )
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
