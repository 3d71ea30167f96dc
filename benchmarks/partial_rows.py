"""Ten trained rows of a large embedding: `fl.parametrize` against peers, and against splitting by hand.

The limit is a layer written by hand for this one purpose: a frozen table and a trained one of ten rows. The
peers train the whole table and undo it: a mask on the gradient, a constraint that restores rows, and plain
full training. All arms see the same batches, 8 x 64 ids, under Adam. Those that are as fast as the limit run
interleaved with it in one process; each arm's peak memory is that of a fresh process. The third case is a
Dense layer of 4096 x 4096 with 64 trained columns, batch 256: what its weight gradient costs, beside that of
the whole kernel; both are differences to a step in which the kernel is frozen. Prints ratios and writes them
as JSON; never fails on time.

    KERAS_BACKEND=jax python benchmarks/partial_rows.py --rounds 5 --out rows-jax.json
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

LIMIT, OURS = "split by hand", "fl.parametrize"
PEERS = ("gradient mask", "constraint", "full training")
CASES = ("untied", "tied", "dense")
KERNELS = ("frozen", "whole kernel", "columns in a row", "scattered columns")
UNITS, COLUMNS, DENSE_BATCH, DENSE_STEPS = 4096, 64, 256, 4
SMALL, LARGE, WIDTH, NEW = 32_000, 250_000, 256, 10
BATCH, LENGTH = 8, 64
STEPS = {"untied": {LIMIT: 40, OURS: 40}, "tied": {LIMIT: 2, OURS: 2}}
FEW_STEPS = {"untied": 4, "tied": 1}


def split_by_hand(rows: int) -> Any:
    """Return the layer of the limit: lookups in two tables, and logits by two products."""
    import keras
    from keras import ops

    class Split(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.old = self.add_weight(shape=(rows - NEW, WIDTH), initializer="uniform", trainable=False)
            self.new = self.add_weight(shape=(NEW, WIDTH), initializer="uniform")

        def call(self, inputs: Any, reverse: bool = False) -> Any:
            if reverse:
                tables = (ops.stop_gradient(self.old.value), self.new)
                return ops.concatenate([ops.matmul(inputs, ops.transpose(t)) for t in tables], axis=-1)
            place = inputs - (rows - NEW)
            old = ops.take(ops.stop_gradient(self.old.value), ops.clip(inputs, 0, rows - NEW - 1), axis=0)
            new = ops.take(self.new, ops.clip(place, 0, NEW - 1), axis=0)
            return ops.where(ops.expand_dims(place >= 0, -1), new, old)

        def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
            width = rows if reverse else WIDTH
            shape = (*inputs.shape[:2], width)
            return keras.KerasTensor(shape, dtype="float32")

    return Split(name="tokens")


def table_of(arm: str, rows: int) -> Any:
    import keras
    import numpy as np
    from keras import ops

    if arm == LIMIT:
        return split_by_hand(rows)
    if arm == "gradient mask":

        class Masked(keras.layers.ReversibleEmbedding):
            @property
            def embeddings(self) -> Any:
                trained = ops.reshape(ops.arange(rows) >= rows - NEW, (-1, 1))
                table = self._embeddings.value
                return ops.where(trained, table, ops.stop_gradient(table))

        return Masked(rows, WIDTH, name="tokens")
    restore = None
    if arm == "constraint":
        first = np.random.default_rng(0).uniform(-0.05, 0.05, (rows, WIDTH)).astype("float32")

        def restore(table: Any) -> Any:
            return ops.concatenate([first[: rows - NEW], table[rows - NEW :]], axis=0)

    return keras.layers.ReversibleEmbedding(rows, WIDTH, embeddings_constraint=restore, name="tokens")


def network(arm: str, rows: int, case: str) -> Any:
    import keras

    import frostline as fl

    keras.utils.set_random_seed(0)
    ids = keras.Input((LENGTH,), dtype="int32")
    table = table_of(arm, rows)
    hidden = table(ids)
    if case == "tied":
        loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model = keras.Model(ids, table(hidden, reverse=True))
    else:
        head = keras.layers.Dense(1, trainable=False)
        loss = "mse"
        model = keras.Model(ids, head(keras.layers.GlobalAveragePooling1D()(hidden)))
    if arm == OURS:
        fl.parametrize(model, "tokens/embeddings", fl.Rows(slice(rows - NEW, None)))
    model.compile("adam", loss)
    return model


def batches(rows: int, case: str, steps: int) -> Any:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.integers(0, rows, (BATCH * steps, LENGTH), dtype="int32")
    x[:, ::8] = rng.integers(rows - NEW, rows, x[:, ::8].shape)
    return x, x if case == "tied" else rng.random((BATCH * steps, 1), dtype="float32")


def step_time(model: Any, data: Any) -> float:
    """Return the milliseconds of one step in an epoch of `fit`."""
    began = time.perf_counter()
    model.fit(*data, batch_size=BATCH, shuffle=False, verbose=0)
    return 1000 * (time.perf_counter() - began) / (len(data[0]) // BATCH)


def measure(arms: tuple[str, ...], rows: int, case: str, rounds: int) -> dict[str, float]:
    """Return the median time of a step of each arm, in milliseconds, the arms interleaved."""
    models = {arm: network(arm, rows, case) for arm in arms}
    steps = STEPS[case].get(arms[0], FEW_STEPS[case])
    data = batches(rows, case, steps)
    for model in models.values():
        step_time(model, batches(rows, case, 1))
        step_time(model, data)
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    for number in range(rounds):
        for arm in arms if number % 2 else arms[::-1]:
            times[arm].append(step_time(models[arm], data))
    return {arm: round(statistics.median(values), 2) for arm, values in times.items()}


def dense_network(kernel: str) -> Any:
    """Return a Dense layer behind one that trains, so that every arm computes the gradient of the inputs."""
    import keras

    import frostline as fl

    keras.utils.set_random_seed(0)
    inputs = keras.Input((UNITS,))
    dense = keras.layers.Dense(UNITS, use_bias=False, trainable=kernel == "whole kernel", name="dense")
    model = keras.Model(inputs, dense(keras.layers.LayerNormalization()(inputs)))
    if "columns" in kernel:
        every = UNITS // COLUMNS if kernel.startswith("scattered") else 1
        fl.parametrize(model, "dense/kernel", fl.Columns(slice(0, COLUMNS * every, every)))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def measure_dense(rounds: int) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    data = [rng.random((DENSE_BATCH * DENSE_STEPS, UNITS), dtype="float32") for _ in range(2)]
    models = {kernel: dense_network(kernel) for kernel in KERNELS}
    times: dict[str, list[float]] = {kernel: [] for kernel in KERNELS}
    for number in range(rounds + 1):
        for kernel in KERNELS if number % 2 else KERNELS[::-1]:
            began = time.perf_counter()
            models[kernel].fit(*data, batch_size=DENSE_BATCH, shuffle=False, verbose=0)
            if number:
                times[kernel].append(1000 * (time.perf_counter() - began) / DENSE_STEPS)
    medians = {kernel: statistics.median(values) for kernel, values in times.items()}
    whole = medians["whole kernel"] - medians["frozen"]
    return {
        "milliseconds_a_step": {kernel: round(ms, 2) for kernel, ms in medians.items()},
        "weight_gradient_to_that_of_the_whole_kernel": {
            kernel: round((medians[kernel] - medians["frozen"]) / whole, 3) for kernel in KERNELS[2:]
        },
    }


def peak() -> float:
    """Return the peak memory of this process in MB."""
    # Not getrusage: its maximum is handed down from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def in_fresh_process(*options: str) -> Any:
    done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def alone(arm: str, rows: int, case: str, rounds: int) -> dict[str, float]:
    """Return the step time and the peak memory of one arm in this process."""
    return {"ms": measure((arm,), rows, case, rounds)[arm], "peak_MB": round(peak(), 1)}


def report(case: str, rounds: int, peers: tuple[str, ...]) -> dict[str, Any]:
    pair = (LIMIT, OURS)
    ask = ("--case", case, "--rounds", str(rounds))
    small, large = (in_fresh_process(*ask, "--rows", str(rows), "--arms", *pair) for rows in (SMALL, LARGE))
    single = {arm: in_fresh_process(*ask, "--rows", str(LARGE), "--alone", arm) for arm in (*pair, *peers)}
    table_mb = LARGE * WIDTH * 4 / 1e6
    return {
        "milliseconds_a_step": {
            f"{SMALL:,} rows": small,
            f"{LARGE:,} rows": large | {arm: single[arm]["ms"] for arm in peers},
        },
        "ratio_to_split_by_hand": round(large[OURS] / large[LIMIT], 3),
        "ratio_of_large_to_small_table": round(large[OURS] / small[OURS], 3),
        "times_faster": {arm: round(single[arm]["ms"] / large[OURS], 1) for arm in peers},
        "peak_memory_MB": {arm: figures["peak_MB"] for arm, figures in single.items()},
        "memory_beyond_split_by_hand_in_tables": round(
            (single[OURS]["peak_MB"] - single[LIMIT]["peak_MB"]) / table_mb, 3
        ),
    }


def main() -> None:
    import keras

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    for hidden in ("--case", "--alone"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--arms", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arms:
        print(json.dumps(measure(tuple(options.arms), options.rows, options.case, options.rounds)))
        return
    if options.case == "dense":
        print(json.dumps(measure_dense(options.rounds)))
        return
    if options.alone:
        print(json.dumps(alone(options.alone, options.rows, options.case, options.rounds)))
        return
    figures: dict[str, Any] = {"backend": keras.backend.backend(), "threads": THREADS}
    for case in options.cases:
        if case == "dense":
            figures[case] = in_fresh_process("--case", case, "--rounds", str(options.rounds))
        else:
            figures[case] = report(case, options.rounds, tuple(options.peers))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
