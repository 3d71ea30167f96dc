"""What `fl.fit(..., watch=True)` costs on the demo's encoder: at most 1 % of a step.

Two cases: a head on the encoder, and all of it. Both arms train the same model in one process, interleaved,
threads pinned to the cores. Prints the ratio of whole calls with and without, what the looks took by their
own clock as a share of the training, and the limit. Writes the same as JSON. Never fails on time.

    KERAS_BACKEND=torch python benchmarks/watch_cost.py --rounds 3 --out watch-torch.json
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

THREADS = str(os.cpu_count() or 1)
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, THREADS)
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

LIMIT = 0.01
"""Which share of a step watching may cost."""

ARMS = ("plain", "watched")
CASES = {"encoder, head": "layer:head", "encoder, all": "**"}


class Arm:
    """One model, trained with or without somebody watching."""

    def __init__(self, name: str, selector: str, options: argparse.Namespace) -> None:
        import keras
        import numpy as np

        import frostline as fl
        from frostline.demo.encoder import EncoderConfig, build_encoder, build_regressor

        keras.utils.set_random_seed(0)
        config = EncoderConfig(blocks=options.blocks, vocabulary=options.vocabulary)
        self.model = build_regressor(build_encoder(config))
        self.model.compile(keras.optimizers.Adam(1e-5), "mse")
        self._plan, self._watched = fl.Plan().train(selector), name == "watched"
        self._options = options
        rng = np.random.default_rng(0)
        samples = options.steps * 32
        ids = rng.integers(1, options.vocabulary, (samples, 16)).astype("int32")
        self._x = {"token_ids": ids, "attention_mask": np.ones_like(ids)}
        self._y = rng.random((samples, 1), dtype="float32")

    def seconds(self, epochs: int) -> tuple[float, float]:
        """Train, and return how long that took, and how long the looks by their own clock."""
        import frostline as fl

        gc.collect()
        began = time.perf_counter()
        run = fl.fit(
            self.model,
            self._plan,
            self._x,
            self._y,
            epochs=epochs,
            batch_size=32,
            verbose=0,
            watch=self._watched,
        )
        taken = time.perf_counter() - began
        return taken, run.watched.seconds[0] if run.watched is not None else 0.0


def measure(case: str, options: argparse.Namespace) -> dict[str, Any]:
    arms = {name: Arm(name, CASES[case], options) for name in ARMS}
    for arm in arms.values():
        arm.seconds(1)
    taken: dict[str, list[float]] = {name: [] for name in ARMS}
    looked: list[float] = []
    for number in range(options.rounds):
        for name in ARMS if number % 2 else ARMS[::-1]:
            seconds, own = arms[name].seconds(options.epochs)
            taken[name].append(seconds)
            print(f"{case}, {name}: {seconds:.1f} s, looks {own:.2f} s", file=sys.stderr, flush=True)
            if name == "watched":
                looked.append(own / seconds)
    steps = options.epochs * options.steps
    middle = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "case": case,
        "steps of a call": steps,
        "milliseconds a step": {name: round(1000 * value / steps, 2) for name, value in middle.items()},
        "ratio of whole calls": round(middle["watched"] / middle["plain"], 4),
        "ratios round by round": [
            round(w / p, 4) for p, w in zip(taken["plain"], taken["watched"], strict=True)
        ],
        "share of the looks by their own clock": round(statistics.median(looked), 4),
        "limit": LIMIT,
        "within": statistics.median(looked) <= LIMIT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=30522)
    parser.add_argument("--case", choices=list(CASES), help="one case in place of all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import keras

    chosen = [options.case] if options.case else list(CASES)
    measured = [measure(case, options) for case in chosen]
    figures = {"backend": keras.backend.backend(), "threads": THREADS, "cases": measured}
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
