"""The case of `partial_rows.py` that writes files: a delta of the new rows, and all of the model."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rows_keras import KerasArm
from rows_task import BY_FIT, CHECKED, DELTA, Task

import frostline as fl

STEPS = 4


def measure(rows: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return bytes and milliseconds of each file: of the first call, and the median of all."""
    arm = KerasArm(BY_FIT, Task(rows))
    run, model = arm.train(STEPS), arm.model
    with tempfile.TemporaryDirectory() as folder:
        delta = Path(folder) / "rows.safetensors"
        weights, whole = Path(folder) / "model.weights.h5", Path(folder) / "model.keras"
        # The large files come last: the disk is still busy with them when the call is over.
        return {
            DELTA: timed(lambda: fl.save_delta(model, delta, base=run, check=False), delta, rounds),
            CHECKED: timed(lambda: fl.save_delta(model, delta, base=run), delta, rounds),
            "model.save_weights": timed(lambda: model.save_weights(weights, overwrite=True), weights, 1),
            "model.save": timed(lambda: model.save(whole, overwrite=True), whole, 1),
        }


def timed(write: Callable[[], Any], file: Path, rounds: int) -> dict[str, float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        write()
        times.append(1000 * (time.perf_counter() - began))
    return {
        "bytes": file.stat().st_size,
        "milliseconds": statistics.median(times),
        "first_call_milliseconds": times[0],
    }
