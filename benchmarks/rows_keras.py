"""The arms of `partial_rows.py` that are Keras models: the limit, Frostline, and peers that undo training."""

from __future__ import annotations

import time
from typing import Any

import keras
from keras import layers, ops
from rows_task import BY_FIT, CONSTRAINT, FROZEN, GRADIENT_MASK, LIMIT, NEW, OURS, Task, forget_peak

from frostline import Plan, Rows, fit, parametrize

ADDRESS = "tokens/embeddings"


class KerasArm:
    """A compiled Keras model, trained by `Model.fit`, or by `fl.fit` under a plan."""

    def __init__(self, name: str, task: Task) -> None:
        self._task = task
        self.model = network(name, task)
        self.peak_of_building = forget_peak()
        rows = slice(task.old, None)
        self._plan = Plan().train(ADDRESS, rows=rows) if name == BY_FIT else None
        if name == OURS:
            parametrize(self.model, ADDRESS, Rows(rows))
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile("adam", cross_entropy if task.tied else "mse")

    def step_time(self, steps: int, epochs: int) -> float:
        laps = Laps()
        self.train(steps, epochs=epochs, callbacks=[laps.callback()])
        return 1000 * laps.seconds[-1] / steps

    def train(self, steps: int, **arguments: Any) -> Any:
        """Return what `fit` returned."""
        arguments = {"batch_size": self._task.batch, "shuffle": False, "verbose": 0, **arguments}
        x, y = self._task.batches(steps)
        if self._plan is None:
            return self.model.fit(x, y, **arguments)
        return fit(self.model, self._plan, x, y, **arguments)


class Laps:
    """The times of epochs, which leave out what a call of `fit` costs once."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def callback(self) -> Any:
        def begin(epoch: int, logs: Any) -> None:
            self._began = time.perf_counter()

        def end(epoch: int, logs: Any) -> None:
            self.seconds.append(time.perf_counter() - self._began)

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)


def network(name: str, task: Task) -> Any:
    keras.utils.set_random_seed(0)
    ids = keras.Input((task.length,), dtype="int32")
    table = table_of(name, task)
    hidden = table(ids)
    if task.tied:
        return keras.Model(ids, table(hidden, reverse=True))
    head = layers.Dense(1, trainable=False, name="head")
    return keras.Model(ids, head(layers.GlobalAveragePooling1D()(hidden)))


def table_of(name: str, task: Task) -> Any:
    if name == LIMIT:
        return Split(task, name="tokens")
    if name == GRADIENT_MASK:
        return GradientMask(task.rows, task.width, name="tokens")
    if name == CONSTRAINT:
        return restored_by_constraint(task)
    return layers.ReversibleEmbedding(task.rows, task.width, trainable=name != FROZEN, name="tokens")


class Split(layers.Layer):
    """The limit: lookups in two tables, and logits by two products."""

    def __init__(self, task: Task, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.task = task

    def build(self, input_shape: Any) -> None:
        task = self.task
        self.old = self.add_weight(shape=(task.old, task.width), initializer="uniform", trainable=False)
        self.new = self.add_weight(shape=(task.new, task.width), initializer="uniform")

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        frozen, first_new = ops.stop_gradient(self.old.value), self.task.old
        if reverse:
            return ops.concatenate(
                [ops.matmul(inputs, ops.transpose(table)) for table in (frozen, self.new)], axis=-1
            )
        place = inputs - first_new
        old = ops.take(frozen, ops.clip(inputs, 0, first_new - 1), axis=0)
        new = ops.take(self.new, ops.clip(place, 0, self.task.new - 1), axis=0)
        return ops.where(ops.expand_dims(place >= 0, -1), new, old)

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
        width = self.task.rows if reverse else self.task.width
        return keras.KerasTensor((*inputs.shape[:2], width), dtype="float32")


class GradientMask(layers.ReversibleEmbedding):
    """The whole table trains, but the gradient of its old rows is cut."""

    @property
    def embeddings(self) -> Any:
        new = ops.reshape(ops.arange(self.input_dim) >= self.input_dim - NEW, (-1, 1))
        table = self._embeddings.value
        return ops.where(new, table, ops.stop_gradient(table))


def restored_by_constraint(task: Task) -> Any:
    # By its seed it gives the same values twice.
    start = keras.initializers.RandomUniform(seed=0)
    old_rows = start((task.rows, task.width))[: task.old]

    def restore(table: Any) -> Any:
        return ops.concatenate([old_rows, table[task.old :]], axis=0)

    return layers.ReversibleEmbedding(
        task.rows,
        task.width,
        embeddings_initializer=start,
        embeddings_constraint=restore,
        name="tokens",
    )
