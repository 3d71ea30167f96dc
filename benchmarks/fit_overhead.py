"""Step time, and time to the first step, of `fl.fit` against `Model.fit` with the same flags set by hand.

Three cases: a head on the demo's encoder, a head on MobileNetV2 at 96 pixels, the last two blocks of an
encoder of twelve. Both arms train the same model in one process, interleaved, threads pinned to the cores,
guard on. The physical limit of freezing is a forward pass, so the time of `predict` over the same data
stands beside them. Peak memory comes from a fresh process for each arm. Prints ratios and writes them as
JSON; never fails on time.

    KERAS_BACKEND=jax python benchmarks/fit_overhead.py --rounds 5 --out overhead-jax.json
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = str(os.cpu_count() or 1)
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, THREADS)
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

ARMS = ("Model.fit", "fl.fit")
EPOCHS = 4
"""Epochs of a call; the first of them warms up and does not count."""

FIRST_STEPS = 3
"""How many first steps are taken in a round: each is one call, where a step's time is a median of many."""


@dataclass(frozen=True)
class Case:
    """A model, the flags that `Model.fit` gets by hand, and the plan that says the same."""

    build: Callable[[], Any]
    trained: tuple[str, ...]
    batch: int
    steps: int


def encoder(blocks: int, vocabulary: int) -> Any:
    from frostline.demo.encoder import EncoderConfig, build_encoder, build_regressor

    return build_regressor(build_encoder(EncoderConfig(blocks=blocks, vocabulary=vocabulary)))


def mobilenet() -> Any:
    import keras

    base = keras.applications.MobileNetV2((96, 96, 3), weights=None, include_top=False, pooling="avg")
    model = keras.Sequential([base, keras.layers.Dense(1, name="head")])
    model.build((None, 96, 96, 3))
    return model


def cases(backend: str) -> dict[str, Case]:
    # Depthwise convolutions run at a few images a second on JAX's CPU backend.
    images = (4, 3) if backend == "jax" else (32, 8)
    return {
        "encoder, head": Case(lambda: encoder(6, 30522), ("head",), 32, 10),
        "MobileNetV2 96 px, head": Case(mobilenet, ("head",), *images),
        "12 blocks, last two": Case(
            lambda: encoder(12, 1000), ("head", "encoder/block_10", "encoder/block_11"), 16, 8
        ),
    }


def data(model: Any, samples: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    y = rng.random((samples, 1), dtype="float32")
    if not isinstance(model.inputs, list) or len(model.inputs) == 1:
        return rng.random((samples, *model.input_shape[1:]), dtype="float32"), y
    ids = rng.integers(1, 1000, (samples, 16)).astype("int32")
    return {"token_ids": ids, "attention_mask": np.ones_like(ids)}, y


class Arm:
    """One model, trained by one of the two."""

    def __init__(self, name: str, case: Case) -> None:
        import keras

        import frostline as fl

        keras.utils.set_random_seed(0)
        self._case, self._name = case, name
        self.model = case.build()
        self._x, self._y = data(self.model, case.batch * case.steps)
        plan = fl.Plan()
        for layer in case.trained:
            plan = plan.train(f"layer:{layer}")
        self._plan = plan
        if name == "Model.fit":
            with fl.applied(self.model, plan):
                flags = [(layer, layer.trainable) for layer in self.model._flatten_layers()]
                inside = {id(v) for v in self.model.trainable_variables}
            for layer, _ in flags:
                if layer.weights and inside.isdisjoint(id(w) for w in layer.weights):
                    layer.trainable = False
            assert {id(v) for v in self.model.trainable_variables} == inside
        self.model.compile("adam", "mse")

    def train(self, epochs: int = EPOCHS, callbacks: tuple[Any, ...] = ()) -> None:
        import frostline as fl

        arguments = {
            "batch_size": self._case.batch,
            "epochs": epochs,
            "verbose": 0,
            "callbacks": list(callbacks),
        }
        if self._name == "fl.fit":
            fl.fit(self.model, self._plan, self._x, self._y, **arguments)
        else:
            self.model.fit(self._x, self._y, **arguments)

    def seconds_a_step(self) -> float:
        clock = _Clock()
        self.train(callbacks=(clock.by_epoch(),))
        return statistics.median(clock.laps[1:]) / self._case.steps

    def seconds_a_call(self) -> float:
        began = time.perf_counter()
        self.train()
        return time.perf_counter() - began

    def seconds_to_first_step(self) -> float:
        clock = _Clock()
        gc.collect()  # else Python looks for the cycles of earlier models within one arm or the other
        began = time.perf_counter()
        self.train(1, (clock.by_step(),))
        return clock.first - began

    def forward(self) -> float:
        began = time.perf_counter()
        self.model.predict(self._x, batch_size=self._case.batch, verbose=0)
        return (time.perf_counter() - began) / self._case.steps


class _Clock:
    """Times of epochs, or of the first step, by Keras's own callbacks."""

    def __init__(self) -> None:
        self.laps: list[float] = []
        self.first = 0.0
        self._began = 0.0

    def by_epoch(self) -> Any:
        import keras

        def begin(epoch: int, logs: Any) -> None:
            self._began = time.perf_counter()

        def end(epoch: int, logs: Any) -> None:
            self.laps.append(time.perf_counter() - self._began)

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)

    def by_step(self) -> Any:
        import keras

        def end(batch: int, logs: Any) -> None:
            self.first = self.first or time.perf_counter()

        return keras.callbacks.LambdaCallback(on_train_batch_end=end)


def measure(name: str, case: Case, rounds: int) -> dict[str, object]:
    first: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for number in range(FIRST_STEPS * rounds):
        for arm in _order(number):
            first[arm].append(Arm(arm, case).seconds_to_first_step())
    arms = {arm: Arm(arm, case) for arm in ARMS}
    for each in arms.values():
        each.train(1)
        each.forward()
    steps: dict[str, list[float]] = {arm: [] for arm in ARMS}
    calls: dict[str, list[float]] = {arm: [] for arm in ARMS}
    forward = []
    for number in range(rounds):
        for arm in _order(number):
            steps[arm].append(arms[arm].seconds_a_step())
        for arm in _order(number):
            calls[arm].append(arms[arm].seconds_a_call())
        forward.append(arms["Model.fit"].forward())
    return {
        "case": name,
        "milliseconds_a_step": _each(steps, 1000),
        "milliseconds_of_a_forward_pass": round(1000 * statistics.median(forward), 2),
        "ratio_of_step_times": _ratio(steps),
        "ratio_of_whole_calls": _ratio(calls),
        "seconds_to_first_step": _each(first, 1),
        "ratio_of_times_to_first_step": _ratio(first),
        "ratios_round_by_round": [round(f / m, 3) for m, f in zip(*steps.values(), strict=True)],
        "peak_memory_MB": {arm: peak(arm, name) for arm in ARMS},
    }


def _order(number: int) -> tuple[str, ...]:
    return ARMS if number % 2 else ARMS[::-1]


def _each(times: dict[str, list[float]], factor: float) -> dict[str, float]:
    return {arm: round(factor * statistics.median(values), 3) for arm, values in times.items()}


def _ratio(times: dict[str, list[float]]) -> float:
    return round(statistics.median(times["fl.fit"]) / statistics.median(times["Model.fit"]), 3)


def peak(arm: str, case: str) -> float:
    """Return the peak memory of one arm alone, in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", arm, "--case", case], capture_output=True, text=True, check=True
    )
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", help="one case in place of all")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import keras

    backend = keras.backend.backend()
    chosen = {n: c for n, c in cases(backend).items() if options.case in (None, n)}
    if options.peak:
        Arm(options.peak, chosen[options.case]).train(1)
        # Not getrusage: its maximum is handed down from the process that started this one.
        status = Path("/proc/self/status").read_text()
        print(int(status.partition("VmHWM:")[2].split()[0]) / 1000)
        return
    measured = [measure(name, case, options.rounds) for name, case in chosen.items()]
    figures = json.dumps({"backend": backend, "threads": THREADS, "cases": measured}, indent=2)
    print(figures)
    if options.out:
        options.out.write_text(figures + "\n")


if __name__ == "__main__":
    main()
