"""Tracing a computation into a graph of TensorFlow, with the layer that each operation belongs to.

Functions made by `tf.function` run as the Python that they are, in the graph of their caller: TensorFlow
would keep traces of their own, and use them for the user's next call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from frostline._keras.variables import has_value
from frostline.backends.tensorflow import internals
from frostline.backends.tensorflow.gradients import differentiable
from frostline.backends.tensorflow.host_reads import EagerAnswers, methods_replaced
from frostline.graph.reader import Argument, Computation, ReadVariable, require_loss
from frostline.graph.source_lines import run_user_code
from frostline.graph.watch import Watch


class Recording(internals.FuncGraph):  # type: ignore[misc]
    """A graph that remembers what was put into it, and what was called and asked for while it was made.

    Attributes:
        loss: The loss as a tensor of the graph.
        sources: What a placeholder of the graph stands for, by the `id` of the placeholder.
        watched: The variables of TensorFlow that were read. Held, as the graph itself does not.
        watch: Keras's side of it.
        answers: What Python code asked of its tensors.
    """

    def __init__(self, computation: Computation) -> None:
        super().__init__("frostline")
        self.loss: Any = None
        self.sources: dict[int, ReadVariable] = {}
        self.watched: list[Any] = []
        self.watch = _Watch(computation, around=self.within)
        self.watch.fill = self._first_value
        self.answers = EagerAnswers(self, self.watch)
        self._spans: dict[int, list[tuple[int, int, str]]] = {}
        self._graphs: list[Any] = []

    def run(self, computation: Computation) -> None:
        """Trace the computation. Nothing is computed but what its Python code asks for."""
        arguments = [placed(argument, self.placeholder_for) for argument in computation.arguments]
        inlined = (functions_inlined(), internals.python_functions_inlined())
        with self.as_default(), inlined[0], inlined[1], self.answers.answered(), self.watch:
            loss = require_loss(run_user_code(computation.loss, *arguments))
            loss = self.capture(loss) if isinstance(loss, tf.Tensor) else tf.convert_to_tensor(loss)
            self.loss = loss if loss.shape.rank == 0 else tf.reduce_sum(loss)

    def watch_variable(self, v: Any) -> None:
        """As TensorFlow has it; called for each variable that is read."""
        self.watched.append(v)
        super().watch_variable(v)

    def placeholder_for(self, value: Any, source: ReadVariable) -> Any:
        """Return a placeholder of this graph for an eager tensor."""
        with self.as_default():
            placeholder = tf.compat.v1.placeholder(value.dtype, value.shape)
        self.add_capture(value, placeholder)
        self.sources[id(placeholder)] = source
        return placeholder

    def _first_value(self, variable: Any) -> Any:
        with tf.init_scope():
            zeros = tf.zeros(variable.shape, variable.dtype)
        return self.placeholder_for(zeros, ReadVariable(variable.path, variable, "foreign"))

    @contextmanager
    def within(self, address: str) -> Iterator[None]:
        """Note that the operations made inside, in whichever graph is being made, belong to a layer."""
        graph = tf.compat.v1.get_default_graph()
        start = graph.version
        try:
            yield
        finally:
            self._graphs.append(graph)
            self._spans.setdefault(id(graph), []).append((start, graph.version, address))

    def layers_of(self, graph: Any, around: str | None) -> list[str | None]:
        """Return the layer of each operation of a graph, `around` for those made outside of any."""
        layers = [around] * len(graph.get_operations())
        # Inner calls end before the outer ones around them.
        for start, end, address in reversed(self._spans.get(id(graph), ())):
            layers[start:end] = [address] * (end - start)
        return layers


def placed(argument: Argument, put: Callable[[Any, ReadVariable], Any]) -> Any:
    """Return the nest of an argument with each array and tensor in it replaced by what `put` makes of it."""
    parts = []
    for path, value in keras.tree.flatten_with_path(argument.value):
        if isinstance(value, np.ndarray | tf.Tensor):
            name = "/".join([argument.name, *map(str, path)] if argument.name else map(str, path))
            tensor = tf.convert_to_tensor(value)
            kind = argument.kind if differentiable(tensor) else "input"
            value = put(tensor, ReadVariable(name, tensor, kind))
        parts.append(value)
    return keras.tree.pack_sequence_as(argument.value, parts)


class _Watch(Watch):
    def get_current_value(self, variable: Any) -> Any:
        value = super().get_current_value(variable)
        # What was assigned in the body of a loop cannot be read outside of it.
        return value if value is None or _reachable(value) else None


def native(variable: Any) -> Any:
    """Return the variable or tensor of TensorFlow behind a variable of Keras; others as they are."""
    if isinstance(variable, keras.Variable):
        return variable.value if has_value(variable) else None
    return variable


def _reachable(tensor: Any) -> bool:
    if not isinstance(tensor, internals.SymbolicTensor):
        return True
    graph = tf.compat.v1.get_default_graph()
    while graph is not None and graph is not tensor.graph:
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


@contextmanager
def functions_inlined() -> Iterator[None]:
    """Let functions made by `tf.function` run as part of their caller, and leave no trace of their own."""

    def inlined(function: Any, *arguments: Any, **options: Any) -> Any:
        python = function.python_function
        if tf.executing_eagerly():
            return python(*arguments, **options)
        if internals.wants_autograph(function):
            python = internals.with_autograph(python)
        arguments, options = keras.tree.map_structure(_as_tensor, (arguments, options))
        return python(*arguments, **options)

    with methods_replaced(internals.FUNCTION, {"__call__": inlined}):
        yield


def _as_tensor(value: Any) -> Any:
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value
