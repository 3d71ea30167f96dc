"""Tracing a computation into a graph of TensorFlow, with the layer that each operation belongs to.

Functions made by `tf.function` run as the Python that they are, in the graph of their caller: TensorFlow would
keep traces of their own and use them for the user's next call. Values that Python asks for, by `.numpy()`,
`float()` or `if`, are computed from the part of the graph that exists; so the tracing goes on as an eager
computation would, and the departure is noted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from frostline import _keras
from frostline.graph import tensorflow_internals as internals
from frostline.graph.ir import Where
from frostline.graph.places import computed_for_frostline, here, is_users
from frostline.graph.read import Argument, Source, Subject
from frostline.graph.tensorflow_gradients import differentiable
from frostline.graph.watching import Watch


@dataclass(frozen=True, slots=True)
class Departure:
    """A value that was asked for as a NumPy array or a Python number.

    Attributes:
        operation: `numpy`, `float`, `int` or `bool`.
        tensor: What was asked for.
        at: How many operations the graph had by then.
        layer: Address of the layer that was being called.
        where: The user's line.
    """

    operation: str
    tensor: Any = field(repr=False)
    at: int
    layer: str | None
    where: Where | None


class Recording(internals.FuncGraph):  # type: ignore[misc]
    """A graph that remembers what was put into it, and what was called and asked for while it was made.

    Attributes:
        loss: The loss as a tensor of the graph.
        sources: What a placeholder of the graph stands for, by the `id` of the placeholder.
        departures: In their order.
        watched: The variables of TensorFlow that were read. Held, as the graph itself does not.
        watch: Keras's side of it.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__("frostline")
        self.loss: Any = None
        self.sources: dict[int, Source] = {}
        self.departures: list[Departure] = []
        self.watched: list[Any] = []
        self.watch = _Watch(subject, around=self.within)
        self.watch.fill = self._first_value
        self._spans: dict[int, list[tuple[int, int, str]]] = {}
        self._graphs: list[Any] = []

    def run(self, subject: Subject) -> None:
        """Trace the computation. Nothing is computed but what its Python code asks for."""
        arguments = [placed(argument, self.stand_in) for argument in subject.arguments]
        with self.as_default(), functions_inlined(), _departures_noted(self), self.watch:
            loss = computed_for_frostline(subject.loss, *arguments)
            loss = self.capture(loss) if isinstance(loss, tf.Tensor) else tf.convert_to_tensor(loss)
            self.loss = loss if loss.shape.rank == 0 else tf.reduce_sum(loss)

    def watch_variable(self, v: Any) -> None:
        """As TensorFlow has it; called for each variable that is read."""
        self.watched.append(v)
        super().watch_variable(v)

    def stand_in(self, value: Any, source: Source) -> Any:
        """Return a placeholder of this graph for an eager tensor."""
        with self.as_default():
            placeholder = tf.compat.v1.placeholder(value.dtype, value.shape)
        self.add_capture(value, placeholder)
        self.sources[id(placeholder)] = source
        return placeholder

    def _first_value(self, variable: Any) -> Any:
        with tf.init_scope():
            zeros = tf.zeros(variable.shape, variable.dtype)
        return self.stand_in(zeros, Source(variable.path, variable, "foreign"))

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


def placed(argument: Argument, put: Callable[[Any, Source], Any]) -> Any:
    """Return the nest of an argument with each array and tensor in it replaced by what `put` makes of it."""
    parts = []
    for path, value in keras.tree.flatten_with_path(argument.value):
        if isinstance(value, np.ndarray | tf.Tensor):
            name = "/".join([argument.name, *map(str, path)] if argument.name else map(str, path))
            tensor = tf.convert_to_tensor(value)
            kind = argument.kind if differentiable(tensor) else "input"
            value = put(tensor, Source(name, tensor, kind))
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
        return variable.value if _keras.has_value(variable) else None
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
            status = tf.__internal__.autograph.control_status_ctx()
            python = tf.__internal__.autograph.tf_convert(python, status, user_requested=True)
        arguments, options = keras.tree.map_structure(_as_tensor, (arguments, options))
        return python(*arguments, **options)

    with replaced(internals.FUNCTION, {"__call__": inlined}):
        yield


def _as_tensor(value: Any) -> Any:
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


# Values that Python asks for ----------------------------------------------------------------------

_PASSING_ON = frozenset(
    {"numpy", "convert_to_numpy", "__array__", "__float__", "__int__", "__index__", "__bool__", "__complex__"}
)
"""Functions of libraries that ask for a value because they were asked for it."""

_NUMPY = str(Path(np.__file__).parent)


@contextmanager
def _departures_noted(graph: Recording) -> Iterator[None]:
    variable = type(tf.Variable(0.0, trainable=False))
    usual = variable.numpy

    def numpy_of_variable(self: Any) -> Any:
        if tf.executing_eagerly():
            return usual(self)
        value = asked(self.read_value(), "numpy", np.asarray)
        return usual(self) if value is NotImplemented else value

    def asked(tensor: Any, operation: str, convert: Callable[[Any], Any]) -> Any:
        if tensor.graph is not graph or not _by_user():
            return NotImplemented
        at = graph.version
        graph.departures.append(Departure(operation, tensor, at, graph.watch.layer, here()))
        return convert(internals.evaluated(tensor).numpy())

    methods = _conversions(asked)
    with replaced(internals.SymbolicTensor, methods), replaced(variable, {"numpy": numpy_of_variable}):
        yield


def _conversions(asked: Callable[..., Any]) -> dict[str, Any]:
    """Return the methods that an eager tensor has and one of a graph lacks."""
    tensor = internals.SymbolicTensor

    def numpy(self: Any) -> Any:
        def convert() -> Any:
            value = asked(self, "numpy", np.asarray)
            if value is NotImplemented:
                raise missing
            return value

        missing = AttributeError(f"{type(self).__name__!r} object has no attribute 'numpy'")
        if not _by_user():
            raise missing
        return convert

    def conversion(name: str, operation: str, convert: Callable[[Any], Any]) -> Any:
        usual = getattr(tensor, name, None)

        def converted(self: Any, *arguments: Any, **options: Any) -> Any:
            value = asked(self, operation, convert)
            if value is not NotImplemented:
                return value
            if usual is None:
                raise TypeError(f"a symbolic tensor has no value yet, and {name} asks for it")
            return usual(self, *arguments, **options)

        converted.__name__ = name
        return converted

    def iterated(self: Any) -> Any:
        if not _by_user() or self.shape.rank is None or not self.shape.rank or self.shape[0] is None:
            return usual_iteration(self)
        return (self[place] for place in range(self.shape[0]))

    usual_iteration = tensor.__iter__
    kinds = {"float": float, "int": int, "index": int, "bool": bool, "complex": complex}
    methods: dict[str, Any] = {
        f"__{name}__": conversion(f"__{name}__", "int" if name == "index" else name, kind)
        for name, kind in kinds.items()
    }
    methods["__array__"] = conversion("__array__", "numpy", np.asarray)
    methods["__format__"] = lambda self, layout: str(self)
    methods["__iter__"] = iterated
    methods["numpy"] = property(numpy)
    return methods


def _by_user() -> bool:
    """Whether user code asks, not a library that wants to know whether it could."""
    frame = sys._getframe(1)
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if is_users(file):
            return True
        transparent = name in _PASSING_ON or file == __file__ or file.startswith((_NUMPY, "<__array"))
        if not transparent:
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False


@contextmanager
def replaced(owner: type, methods: dict[str, Any]) -> Iterator[None]:
    """Give a class other methods for a while."""
    held = {name: vars(owner).get(name) for name in methods}
    for name, method in methods.items():
        setattr(owner, name, method)
    try:
        yield
    finally:
        for name, method in held.items():
            if method is None:
                delattr(owner, name)
            else:
                setattr(owner, name, method)
