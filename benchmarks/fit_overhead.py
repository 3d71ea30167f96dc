"""Step time of `fl.fit`, guard on, against `Model.fit` with the same flags set by hand.

Both arms train the same head on the same frozen network, interleaved, threads pinned to the cores. The
physical limit of freezing is a forward pass, so the time of `predict` over the same data stands beside
them. Prints ratios and writes them as JSON; never fails on time.

    KERAS_BACKEND=jax python benchmarks/fit_overhead.py --rounds 5 --out overhead-jax.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

THREADS = str(os.cpu_count() or 1)
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, THREADS)
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

ARMS = ("Model.fit", "fl.fit")
BATCH, STEPS = 32, 8


def network(arm: str) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2((96, 96, 3), weights=None, include_top=False, pooling="avg")
    if keras.backend.backend() == "jax":
        # Depthwise convolutions run at 3 images a second on JAX's CPU backend; they would drown the overhead.
        base = keras.applications.VGG16(
            input_shape=(48, 48, 3), weights=None, include_top=False, pooling="avg"
        )
    model = keras.Sequential([base, keras.layers.Dense(10, name="head")])
    model.build((None, *base.input_shape[1:]))
    if arm == "Model.fit":
        base.trainable = False
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def data(model: Any) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (BATCH * STEPS, *model.input_shape[1:])
    return rng.random(shape, dtype="float32"), rng.integers(0, 10, BATCH * STEPS)


def train(arm: str, model: Any, x: Any, y: Any) -> float:
    import frostline as fl

    began = time.perf_counter()
    if arm == "fl.fit":
        fl.fit(model, fl.linear_probe(), x, y, batch_size=BATCH, verbose=0)
    else:
        model.fit(x, y, batch_size=BATCH, verbose=0)
    return time.perf_counter() - began


def measure(rounds: int) -> dict[str, object]:
    import keras

    models = {arm: network(arm) for arm in ARMS}
    x, y = data(models[ARMS[0]])
    first = {arm: train(arm, model, x, y) for arm, model in models.items()}
    models[ARMS[0]].predict(x, batch_size=BATCH, verbose=0)
    times: dict[str, list[float]] = {arm: [] for arm in (*ARMS, "forward")}
    for number in range(rounds):
        for arm in ARMS if number % 2 else ARMS[::-1]:
            times[arm].append(train(arm, models[arm], x, y))
        began = time.perf_counter()
        models[ARMS[0]].predict(x, batch_size=BATCH, verbose=0)
        times["forward"].append(time.perf_counter() - began)
    medians = {arm: statistics.median(values) for arm, values in times.items()}
    return {
        "backend": keras.backend.backend(),
        "threads": THREADS,
        "milliseconds_a_step": {arm: round(1000 * t / STEPS, 2) for arm, t in medians.items()},
        "ratio_fl_fit_to_model_fit": round(medians["fl.fit"] / medians["Model.fit"], 3),
        "ratio_model_fit_to_forward_pass": round(medians["Model.fit"] / medians["forward"], 3),
        "first_call_seconds": {arm: round(t, 2) for arm, t in first.items()},
        "spread": {arm: [round(1000 * t / STEPS, 2) for t in (min(v), max(v))] for arm, v in times.items()},
        "peak_memory_MB": {arm: peak(arm) for arm in ARMS},
    }


def peak(arm: str) -> float:
    """Return the peak memory of one arm alone, in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", arm], capture_output=True, text=True, check=True
    )
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        model = network(options.peak)
        train(options.peak, model, *data(model))
        # Not getrusage: its maximum is handed down from the process that started this one.
        status = Path("/proc/self/status").read_text()
        print(int(status.partition("VmHWM:")[2].split()[0]) / 1000)
        return
    figures = json.dumps(measure(options.rounds), indent=2)
    print(figures)
    if options.out:
        options.out.write_text(figures + "\n")


if __name__ == "__main__":
    main()
