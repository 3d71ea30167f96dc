"""What an audit costs, against what any training pays first: tracing and compiling the training function.

ResNet50 at 64 pixels, and a transformer encoder of twelve blocks; beside them a tiny LSTM of 20 steps, whose
operations take a few microseconds each. Three arms, each in a fresh process, since whoever comes second finds
warm what the first one paid for; the arms take turns, threads are pinned to the cores. `training` is Keras
alone: the first call of the training function, and steps after it. `structure` is the audit without a
measured step, `audit` is `fl.audit`.

The limits: `structure` takes at most 3 times what tracing and compiling take, that is the first step less
a later one; `audit` at most that and 2 training steps; either at most 1.5 times the peak memory of training.
PyTorch compiles nothing: there the limit is 3 training steps, in place of 3 compilations. Peak memory is that
of the process; beside it stands what it grew by since the model was there. Prints figures, ratios and limits,
and writes them as JSON; never fails on time. A load before of more than 0.5 spoils the figures.

    KERAS_BACKEND=jax python benchmarks/audit_cost.py --rounds 3 --out audit-jax.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = str(os.cpu_count() or 1)
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, THREADS)
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

ARMS = ("training", "structure", "audit")
STEPS = 4
"""Training steps behind the first one; the fastest of them counts."""

COMPILATIONS, MEASURED_STEPS, MEMORY = 3, 2, 1.5
"""The limits: compilations for the structure, further steps for the measured one, times of peak memory."""


def resnet() -> tuple[Any, Any, Any]:
    import keras
    import numpy as np

    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (8, 64, 64, 3)).astype("float32")
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model, x, rng.integers(0, 10, 8)


def encoder() -> tuple[Any, Any, Any]:
    import numpy as np

    from frostline.demo.encoder import EncoderConfig, build_encoder, build_regressor

    model = build_regressor(build_encoder(EncoderConfig(blocks=12, vocabulary=1000)))
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 1000, (16, 16)).astype("int32")
    model.compile("sgd", "mse")
    return model, {"token_ids": ids, "attention_mask": np.ones_like(ids)}, rng.random((16, 1), "float32")


def recurrent() -> tuple[Any, Any, Any]:
    import keras
    import numpy as np

    stack = [keras.Input((20, 4)), keras.layers.LSTM(8), keras.layers.Dense(1)]
    model = keras.Sequential(stack)
    model.compile("sgd", "mse")
    return model, np.ones((4, 20, 4), "float32"), np.zeros((4, 1), "float32")


MODELS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "ResNet50 64 px": resnet,
    "12 blocks": encoder,
    "LSTM of 20 steps": recurrent,
}


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def peak_mb() -> float:
    # Not getrusage: its maximum is handed down from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def alone(arm: str, model_name: str) -> dict[str, float]:
    """Return the figures of one arm in this process."""
    from frostline.backends.dispatch import reader
    from frostline.diagnostics.audit import audit
    from frostline.diagnostics.inspection import inspect_model
    from frostline.diagnostics.rules import all_rules

    model, x, y = MODELS[model_name]()
    reader(), all_rules()  # what is imported once, as Keras itself was
    before = peak_mb()
    if arm == "training":
        first = timed(lambda: model.train_on_batch(x, y))
        step = min(timed(lambda: model.train_on_batch(x, y)) for _ in range(STEPS))
        return {"first": first, "step": step, "before_MB": before, "peak_MB": peak_mb()}

    def structure() -> None:
        with inspect_model(model, x, y, measured=False) as inspection:
            assert set(inspection.statuses.values()) == {"trains"}
            assert not [finding for rule in all_rules() for finding in rule.check(inspection)]

    seconds = timed(structure if arm == "structure" else lambda: audit(model, x, y))
    return {"seconds": seconds, "before_MB": before, "peak_MB": peak_mb()}


def in_fresh_process(arm: str, model: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--alone", arm, "--model", model]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def report(model: str, rounds: int, backend: str) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for number in range(rounds):
        for arm in ARMS if number % 2 else ARMS[::-1]:
            found[arm].append(in_fresh_process(arm, model))

    def median(arm: str, figure: str) -> float:
        return statistics.median(one[figure] for one in found[arm])

    step = median("training", "step")
    compilation = median("training", "first") - step
    paid = step if backend == "torch" else compilation
    seconds = {arm: median(arm, "seconds") for arm in ARMS[1:]}
    limit = COMPILATIONS * paid
    peaks = {arm: median(arm, "peak_MB") for arm in ARMS}
    growth = {arm: peaks[arm] - median(arm, "before_MB") for arm in ARMS}
    return {
        "seconds": {"first step": median("training", "first"), "a later step": step, **seconds},
        "paid_anyway": "a training step" if backend == "torch" else "tracing and compiling",
        "seconds_paid_anyway": paid,
        "structure_to_that": seconds["structure"] / paid,
        "structure_limit": COMPILATIONS,
        "structure_to_first_step": seconds["structure"] / median("training", "first"),
        "audit_seconds_of_its_limit": seconds["audit"] / (limit + MEASURED_STEPS * step),
        "steps_that_measuring_takes": (seconds["audit"] - seconds["structure"]) / step,
        "peak_memory_MB": peaks,
        "peak_memory_to_training": {arm: peaks[arm] / peaks["training"] for arm in ARMS[1:]},
        "growth_to_training": {arm: growth[arm] / growth["training"] for arm in ARMS[1:]},
        "peak_memory_limit": MEMORY,
    }


def rounded(figures: Any) -> Any:
    if isinstance(figures, dict):
        return {name: rounded(value) for name, value in figures.items()}
    return round(figures, 3) if isinstance(figures, float) else figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", choices=MODELS, help="one model in place of both")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone, options.model)))
        return
    import keras

    backend = keras.backend.backend()
    chosen = [name for name in MODELS if options.model in (None, name)]
    load = os.getloadavg()[0]
    models = {name: rounded(report(name, options.rounds, backend)) for name in chosen}
    about = {"backend": backend, "threads": THREADS, "rounds": options.rounds, "load_before": round(load, 2)}
    figures = json.dumps({**about, "models": models}, indent=2)
    print(figures)
    if options.out:
        options.out.write_text(figures + "\n")


if __name__ == "__main__":
    main()
