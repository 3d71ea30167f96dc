"""What Python code asks of a tensor while it is traced: values that TensorFlow only has when it runs.

They are computed from the part of the graph that exists, so that the tracing goes on as an eager computation
would, and noted: what Python does with them cannot be followed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from frostline.backends.tensorflow import internals
from frostline.graph.ir import Where
from frostline.graph.source_lines import is_user_file, users_line_now
from frostline.graph.watch import Watch


@dataclass(frozen=True, slots=True)
class HostRead:
    """A value that was asked for as a NumPy array or a Python number.

    Attributes:
        operation: `numpy`, `float`, `int` or `complex`.
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


_PASSING_ON = frozenset(
    {"numpy", "convert_to_numpy", "__array__", "__float__", "__int__", "__index__", "__bool__", "__complex__"}
)
"""Functions of libraries that ask for a value because they were asked for it."""

_NUMPY = str(Path(np.__file__).parent)

_CONVERSIONS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("__array__", "numpy", np.asarray),
    ("__float__", "float", float),
    ("__complex__", "complex", complex),
    ("__int__", "int", int),
    ("__index__", "int", int),
    ("__bool__", "", bool),
)
"""Method, operation and result. A branch of Python makes no value: `bool` is answered and not noted."""


class EagerAnswers:
    """Answers for the tensors of one graph.

    Args:
        graph: The graph that is being made.
        watch: Knows the layer that is being called.
    """

    def __init__(self, graph: Any, watch: Watch) -> None:
        self._graph = graph
        self._watch = watch
        self.host_reads: list[HostRead] = []
        self.branches: list[Where | None] = []

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Let tensors of the graph answer what eager tensors do, where user code asks."""
        tensor, variable = internals.SymbolicTensor, internals.VARIABLE
        methods: dict[str, Any] = {
            name: self._conversion(name, kind, convert) for name, kind, convert in _CONVERSIONS
        }
        methods |= {
            "numpy": self._numpy(),
            "__iter__": self._iteration(),
            "__format__": lambda tensor, layout: str(tensor),
            "__len__": _length,
        }
        with (
            methods_replaced(tensor, methods),
            methods_replaced(variable, {"numpy": self._numpy_of_variable()}),
        ):
            yield

    def _answer(self, tensor: Any, operation: str, convert: Callable[[Any], Any]) -> Any:
        """Return the value of a tensor, NotImplemented where it is not for us to say."""
        # In the body of a loop or a branch there is a value for each turn, and none while it is traced.
        if tensor.graph is not self._graph or not _by_user():
            return NotImplemented
        if tensor.shape.rank == 0:  # Python decides by numbers, not by arrays
            self.branches.append(users_line_now())
        if operation:
            at = self._graph.version
            self.host_reads.append(HostRead(operation, tensor, at, self._watch.layer, users_line_now()))
        return convert(internals.evaluated(tensor).numpy())

    def _conversion(self, name: str, operation: str, convert: Callable[[Any], Any]) -> Callable[..., Any]:
        usual = getattr(internals.SymbolicTensor, name, None)

        def converted(tensor: Any, *arguments: Any, **options: Any) -> Any:
            value = self._answer(tensor, operation, convert)
            if value is not NotImplemented:
                return value
            if usual is None:
                raise TypeError(f"a symbolic tensor has no value yet, and {name} asks for it")
            return usual(tensor, *arguments, **options)

        return converted

    def _numpy(self) -> property:
        def numpy(tensor: Any) -> Callable[[], Any]:
            def converted() -> Any:
                value = self._answer(tensor, "numpy", np.asarray)
                if value is NotImplemented:
                    raise missing
                return value

            missing = AttributeError(f"{type(tensor).__name__!r} object has no attribute 'numpy'")
            if not _by_user():
                # Libraries tell eager tensors by this attribute.
                raise missing
            return converted

        return property(numpy)

    def _numpy_of_variable(self) -> Callable[..., Any]:
        usual = internals.VARIABLE.numpy

        def numpy(variable: Any) -> Any:
            if tf.executing_eagerly():
                return usual(variable)
            value = self._answer(variable.read_value(), "numpy", np.asarray)
            return usual(variable) if value is NotImplemented else value

        return numpy

    def _iteration(self) -> Callable[..., Any]:
        usual = internals.SymbolicTensor.__iter__

        def iterated(tensor: Any) -> Any:
            if not _by_user() or not tensor.shape.rank or tensor.shape[0] is None:
                return usual(tensor)
            return (tensor[place] for place in range(tensor.shape[0]))

        return iterated


def _length(tensor: Any) -> int:
    if not tensor.shape.rank or tensor.shape[0] is None:
        raise TypeError("a symbolic tensor of unknown length has no len()")
    return int(tensor.shape[0])


def _by_user() -> bool:
    """Whether user code asks, not a library that wants to know whether it could.

    Keras and TensorFlow try such methods to tell eager tensors from symbolic ones: with an answer they would
    go on as if they ran eagerly. A library that only hands the user's question on is looked through.
    """
    frame = inspect.currentframe()
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if is_user_file(file):
            return True
        transparent = name in _PASSING_ON or file == __file__ or file.startswith((_NUMPY, "<__array"))
        if not transparent:
            return False
        frame = frame.f_back
    return False


@contextmanager
def methods_replaced(owner: type, methods: dict[str, Any]) -> Iterator[None]:
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
