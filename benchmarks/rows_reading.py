"""What looking up the rows of a batch takes by itself: no layer that looks rows up takes less."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from rows_task import READING, READING_HERE, Task, peak_mb


class Reading:
    """Looks the rows of each step up, and does nothing else."""

    def __init__(self, task: Task, make: Callable[[Any, Task], Callable[[Any], Any]]) -> None:
        table = np.random.default_rng(0).random((task.rows, task.width), "float32")
        self._task = task
        self._look_up = make(table, task)
        self.peak_of_building = peak_mb()

    def step_time(self, steps: int, epochs: int) -> float:
        ids = self._task.batches(steps)[0].reshape(steps, -1)
        for _ in range(epochs):
            began = time.perf_counter()
            for batch in ids:
                self._look_up(batch)
            seconds = time.perf_counter() - began
        return 1000 * seconds / steps


def by_numpy(table: Any, task: Task) -> Callable[[Any], Any]:
    rows = np.empty((task.batch * task.length, task.width), "float32")
    # Another mode would make a copy of its own.
    return lambda ids: np.take(table, ids, axis=0, out=rows, mode="clip")


def by_backend(table: Any, task: Task) -> Callable[[Any], Any]:
    table = keras.ops.convert_to_tensor(table)
    take = compiled(lambda table, ids: keras.ops.take(table, ids, axis=0))
    # To NumPy, since JAX would go on with the next batch before this one is there.
    return lambda ids: keras.ops.convert_to_numpy(take(table, keras.ops.convert_to_tensor(ids)))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled by XLA, as `fit` compiles a step; PyTorch compiles nothing."""
    match keras.backend.backend():
        case "jax":
            import jax

            return jax.jit(function)
        case "tensorflow":
            import tensorflow as tf

            return tf.function(function, jit_compile=True)
    return function


READERS: dict[str, Callable[[Task], Reading]] = {
    READING: lambda task: Reading(task, by_numpy),
    READING_HERE: lambda task: Reading(task, by_backend),
}
