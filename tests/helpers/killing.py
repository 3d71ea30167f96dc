"""Runs killed with SIGKILL at random moments, and their undisturbed twin.

    python killing.py fit|command FOLDER KILLS_IN_EACH_PHASE SEED [PHASE ...]

Runs are those of `fl.fit`, or of `frostline fit`, whose config takes model, data and callbacks from this
module. Every run has a process of its own, forked from this one, which has imported the backend and run
nothing on it. FOLDER/report.json says what came out.
"""

import csv
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml

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
SPANS = {"head": (0, 18), "middle": (18, 33), "all": (33, 48), "end": (48, 49)}
"""Which steps a phase has; the rest of an epoch that begins in one phase belongs to the next. Behind the last
step models, receipts and what else a run leaves are written."""


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
        self.step = self._left = step
        self.delay = delay

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._left == 0:
            threading.Thread(target=self._kill, daemon=True).start()
        self._left -= 1

    def on_train_end(self, logs: Any = None) -> None:
        if self._left == 0:
            threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        time.sleep(self.delay)
        os.kill(os.getpid(), signal.SIGKILL)


def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(STEPS * 8, 6)).astype("float32")
    return x, rng.normal(size=(STEPS * 8, 2)).astype("float32")


def plateau() -> keras.callbacks.Callback:
    return keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=1.0)


def fit(folder: Path, result: Path, kill: KillAt | None = None) -> None:
    """Train with `fl.fit` to the end, or until killed, and write down what came out."""
    x, y = arrays()
    model = build()
    callbacks = [plateau(), *([kill] if kill else [])]
    run = fl.fit(model, SCHEDULE, x, y, batch_size=8, verbose=0, resume=folder, callbacks=callbacks)
    problems = run.receipt.check(after=fl.fingerprint(model))
    variables = (*model.variables, *model.optimizer.variables)
    write(result, variables, run.history.history, problems, run.receipt.to_data(), folder)


CONFIG = {
    "frostline": 1,
    "model": "killing:build",
    "data": {"function": "killing:arrays"},
    "batch_size": 8,
    "plan": SCHEDULE.to_data(),
    "callbacks": ["killing:plateau", "killing:kill_at"],
    "output": "out",
}
FOREIGN = ("notes.txt", "runs/epoch-best/weights.bin", "finished/receipt.json", ".hidden/plan.yaml")
"""Files of somebody else's beside a run, with names that a run might take for its own."""


def kill_at() -> keras.callbacks.Callback:
    """What the config names: a callback that kills where a file beside it says so, and once."""
    told = Path("kill_at.json")
    if not told.exists():
        return keras.callbacks.Callback()
    step, delay = json.loads(told.read_text())
    told.unlink()
    return KillAt(step, delay)


def command(folder: Path, result: Path, kill: KillAt | None = None) -> None:
    """Train with `frostline fit` to the end, or until killed, and write down what came out."""
    from frostline.cli.app import main as frostline

    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    shutil.copy(__file__, "killing.py")
    Path("run.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    for name in FOREIGN:
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        if not Path(name).exists():
            Path(name).write_text(f"{name} is mine")
    if kill:
        Path("kill_at.json").write_text(json.dumps([kill.step, kill.delay]))
    sys.path.insert(0, str(folder))
    # Some die when the run has just been finished: it is refused, and what they left goes.
    refused = is_finished(Path("out/run.json"))
    for words in (["fit", "run.yaml"], ["verify", "out/receipt.json", "--after", "out/model.keras"]):
        sys.argv = ["frostline", *words]
        with Path("said.txt").open("a") as said, redirect_stdout(said):
            try:
                frostline()
            except SystemExit as end:
                expected = 2 if refused and words[0] == "fit" else 0
                assert (end.code or 0) == expected, f"frostline {words[0]} ended with {end.code}"
    with Path("out/history.csv").open(newline="") as stream:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]
    Path("kill_at.json").unlink(missing_ok=True)  # not read by a run that was finished when it began again
    keras.utils.set_random_seed(0)  # Keras does not bring back the state of a seed, but draws a new one
    model = keras.saving.load_model("out/model.keras")
    altered = [f"{name} was altered" for name in FOREIGN if Path(name).read_text() != f"{name} is mine"]
    receipt = json.loads(Path("out/receipt.json").read_text())
    write(result, (*model.variables, *model.optimizer.variables), rows, altered, receipt, folder)


def is_finished(record: Path) -> bool:
    return record.exists() and json.loads(record.read_text())["status"] == "finished"


def write(
    result: Path,
    variables: Iterable[Any],
    history: Any,
    problems: Sequence[str],
    receipt: dict[str, Any],
    folder: Path,
) -> None:
    """Write down what came out of a run."""
    # The last is over the others, too. That callbacks were not compared is said where a run goes on.
    times = ("started", "seconds", "not_compared", "blake3")
    assert all(said.startswith("callbacks: ") for said in receipt.get("not_compared", ()))
    told = {
        "history": history,
        "problems": list(problems),
        "receipt": without_metrics({key: value for key, value in receipt.items() if key not in times}),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }
    values = {f"{n}": np.asarray(keras.ops.convert_to_numpy(v)) for n, v in enumerate(variables)}
    np.savez(result, **values)
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


def without_metrics(data: Any) -> Any:
    """Leave the state of metrics out: what went on behind the last epoch begins them anew."""
    if isinstance(data, dict):
        kept = {k: v for k, v in data.items() if not (isinstance(v, dict) and v.get("role") == "metric")}
        return {key: without_metrics(value) for key, value in kept.items()}
    return [without_metrics(value) for value in data] if isinstance(data, list) else data


def difference(one: Path, other: Path) -> float:
    """The largest difference between two results, which must be of the same shape."""
    a, b = np.load(one), np.load(other)
    assert a.files == b.files
    return max(float(np.abs(a[n].astype("float64") - b[n].astype("float64")).max(initial=0)) for n in a.files)


def main(train: Callable[..., None], folder: Path, kills: int, seed: int, phases: list[str]) -> None:
    dice = random.Random(seed)
    writing = 0.5 if train is command else 0.02
    whole = folder / "whole.npz"
    assert in_a_process(partial(train, folder / "whole", whole))
    undisturbed = json.loads(whole.with_suffix(".json").read_text())
    report = []
    for phase, (first, end) in ((one, SPANS[one]) for one in phases or SPANS):
        for number in range(kills):
            deaths = attempt = 0
            while not deaths:  # a run that came to its end before its death is not an example
                attempt += 1
                run = folder / f"{phase}{number}-{attempt}"
                step, result = dice.randrange(first, end), run.with_suffix(".npz")
                # What is written at the end takes longer than a step.
                kill: KillAt | None = KillAt(step, dice.uniform(0, writing if phase == "end" else 0.02))
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
                    "difference": difference(result, whole),
                    "same history": told["history"] == undisturbed["history"],
                    "same receipt": told["receipt"] == undisturbed["receipt"],
                    "same files": told["files"] == undisturbed["files"],
                    "problems": told["problems"],
                }
            )
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    ways = {"fit": fit, "command": command}
    main(ways[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
