"""Computing a loss and its gradients once on TensorFlow, and leaving every variable as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from frostline.graph import tensorflow_internals as internals
from frostline.graph.places import computed_for_frostline
from frostline.graph.read import Measured, Source, Subject
from frostline.graph.tensorflow_asking import replaced
from frostline.graph.tensorflow_recording import functions_inlined, native, placed
from frostline.graph.watching import Watch

_WRITING = ("assign", "batch_scatter", "scatter")
"""How the methods of a variable of TensorFlow that write to it begin."""


def measure(subject: Subject) -> Measured:
    """Compute the loss and the gradients of the weights, eagerly and once. No variable is written to."""
    targets = {s.name: native(s.variable) for s in subject.variables if s.kind == "weight"}
    targets = {name: target for name, target in targets.items() if target is not None}

    def put(value: Any, source: Source) -> Any:
        if source.kind == "weight":
            targets[source.name] = value
        return value

    arguments = [placed(argument, put) for argument in subject.arguments]
    try:
        with (
            internals.random_numbers_kept(),
            _variables_kept(),
            functions_inlined(),
            tf.GradientTape() as tape,
        ):
            for target in targets.values():
                tape.watch(target)
            with Watch(subject):
                loss = computed_for_frostline(subject.loss, *arguments)
            total = tf.reduce_sum(tf.convert_to_tensor(loss))
        found = tape.gradient(total, list(targets.values()))
    except Exception as error:
        return Measured(float("nan"), {}, error=str(error))
    gradients = {n: _dense(g, t) for (n, t), g in zip(targets.items(), found, strict=True)}
    return Measured(float(tf.cast(total, tf.float64)), gradients)


def _dense(gradient: Any, target: Any) -> npt.NDArray[Any] | None:
    if not isinstance(gradient, tf.IndexedSlices):
        return None if gradient is None else np.asarray(gradient)
    values = np.asarray(gradient.values)
    dense = np.zeros(tuple(target.shape), values.dtype)
    np.add.at(dense, np.asarray(gradient.indices), values)
    return dense


@contextmanager
def _variables_kept() -> Iterator[None]:
    """Give variables of TensorFlow back the values that they had; a `Watch` does so for those of Keras."""
    held: dict[int, tuple[Any, Any]] = {}
    kind = internals.VARIABLE

    def keeping(name: str) -> Callable[..., Any]:
        usual = getattr(kind, name)

        def write(variable: Any, *arguments: Any, **options: Any) -> Any:
            if id(variable) not in held:
                held[id(variable)] = variable, tf.identity(variable.read_value())
            return usual(variable, *arguments, **options)

        return write

    try:
        with replaced(kind, {name: keeping(name) for name in dir(kind) if name.startswith(_WRITING)}):
            yield
    finally:
        for variable, value in held.values():
            variable.assign(value)
