"""The arms of `partial_rows.py` in plain JAX: Optax's `multi_transform`, on a split table and a whole one."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
from rows_task import JAX_FROZEN, OPTAX_SPLIT, Task, forget_peak

Parameters = dict[str, Any]


class JaxArm:
    """A compiled step in a loop of its own, whose parameters and slots are updated in place (donated)."""

    def __init__(self, name: str, task: Task) -> None:
        self._task = task
        self._parameters = first_values(task, split=name == OPTAX_SPLIT)
        jax.block_until_ready(self._parameters)
        self.peak_of_building = forget_peak()
        if name == JAX_FROZEN:
            forward = jax.jit(lambda parameters, x, y: loss_of(parameters, task, x, y))
            self._state: Any = None
            self._step: Any = lambda parameters, state, x, y: (parameters, state, forward(parameters, x, y))
            return
        optimizer = adam_on_new_rows(task, split=name == OPTAX_SPLIT)
        self._state = optimizer.init(self._parameters)
        self._step = jax.jit(step_of(optimizer, task), donate_argnums=(0, 1))

    def step_time(self, steps: int, epochs: int) -> float:
        x, y = self._task.batches(steps)
        size = self._task.batch
        for _ in range(epochs):
            began = time.perf_counter()
            for start in range(0, len(x), size):
                batch = x[start : start + size], y[start : start + size]
                self._parameters, self._state, loss = self._step(self._parameters, self._state, *batch)
            jax.block_until_ready((self._parameters, loss))
        return 1000 * (time.perf_counter() - began) / steps


def first_values(task: Task, *, split: bool) -> Parameters:
    table = jax.random.uniform(jax.random.key(0), (task.rows, task.width), minval=-0.05, maxval=0.05)
    tables = {"old": table[: task.old], "new": table[task.old :]} if split else {"table": table}
    return {**tables, "head": jnp.linspace(-1.0, 1.0, task.width).reshape(-1, 1)}


def loss_of(parameters: Parameters, task: Task, x: Any, y: Any) -> Any:
    rows = looked_up(parameters, task, x)
    return jnp.mean((rows.mean(axis=1) @ parameters["head"] - y) ** 2)


def looked_up(parameters: Parameters, task: Task, ids: Any) -> Any:
    if "table" in parameters:
        return parameters["table"][ids]
    place = ids - task.old
    old = parameters["old"][jnp.minimum(ids, task.old - 1)]
    new = parameters["new"][jnp.maximum(place, 0)]
    return jnp.where((place >= 0)[..., None], new, old)


def adam_on_new_rows(task: Task, *, split: bool) -> Any:
    import optax

    def without_old_rows(updates: Any, _parameters: Any) -> Any:
        return jax.tree.map(lambda update: update.at[: task.old].set(0), updates)

    adam = optax.adam(1e-3)
    rows = adam if split else optax.chain(adam, optax.stateless(without_old_rows))
    trained = "new" if split else "table"
    return optax.multi_transform(
        {"rows": rows, "frozen": optax.set_to_zero()},
        lambda parameters: {name: "rows" if name == trained else "frozen" for name in parameters},
    )


def step_of(optimizer: Any, task: Task) -> Any:
    import optax

    def step(parameters: Parameters, state: Any, x: Any, y: Any) -> tuple[Parameters, Any, Any]:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, task, x, y)
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss

    return step
