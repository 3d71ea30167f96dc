"""The case of `partial_rows.py` with trained columns: what the weight gradient of a Dense layer costs."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras
import numpy as np

import frostline as fl

FROZEN, WHOLE = "frozen", "whole kernel"
COLUMNS = ("columns in a row", "scattered columns")
FROZEN_COLUMNS = {columns: f"{columns}, frozen" for columns in COLUMNS}
"""The layer computes with these columns apart, and does not train them."""

KERNELS = (FROZEN, WHOLE, *COLUMNS, *FROZEN_COLUMNS.values())
SHARE = 64
"""One column in so many trains: 64 of 4096."""

BATCH, STEPS = 256, 4


def measure(units: int, rounds: int) -> dict[str, Any]:
    """Return step times, what a weight gradient of columns costs beside that of the whole, and all they cost.

    A weight gradient costs the difference to a step of the same computation in which nothing of the kernel
    trains. All that columns cost is the difference to a plain layer whose kernel is frozen: there are their
    outputs and their share of the gradient of the inputs besides.

    Steps are taken on one batch that is there already: under TensorFlow's pinned threads the pipeline of
    `fit` waits longer than some steps take.
    """
    rng = np.random.default_rng(0)
    data = [keras.ops.convert_to_tensor(rng.random((BATCH, units), dtype="float32")) for _ in range(2)]
    models = {kernel: network(kernel, units) for kernel in KERNELS}
    times: dict[str, list[float]] = {kernel: [] for kernel in KERNELS}
    for number in range(rounds + 1):
        for kernel in KERNELS if number % 2 else KERNELS[::-1]:
            began = time.perf_counter()
            for _ in range(STEPS):
                models[kernel].train_on_batch(*data)
            if number:
                times[kernel].append(1000 * (time.perf_counter() - began) / STEPS)
    medians = {kernel: statistics.median(values) for kernel, values in times.items()}
    whole = medians[WHOLE] - medians[FROZEN]
    return {
        "milliseconds_a_step": medians,
        "of_the_weight_gradient": {k: (medians[k] - medians[FROZEN_COLUMNS[k]]) / whole for k in COLUMNS},
        "all_of_the_weight_gradient": {k: (medians[k] - medians[FROZEN]) / whole for k in COLUMNS},
    }


def network(kernel: str, units: int) -> Any:
    """Return a Dense layer behind one that trains, so that every arm computes the gradient of the inputs."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((units,))
    dense = keras.layers.Dense(units, use_bias=False, name="dense")
    model = keras.Model(inputs, dense(keras.layers.LayerNormalization()(inputs)))
    columns = units // SHARE
    if kernel.startswith("columns in a row"):
        fl.parametrize(model, "dense/kernel", fl.Columns(slice(0, columns)))
    if kernel.startswith("scattered columns"):
        fl.parametrize(model, "dense/kernel", fl.Columns(slice(0, columns * SHARE, SHARE)))
    dense.trainable = not kernel.endswith("frozen")
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model
