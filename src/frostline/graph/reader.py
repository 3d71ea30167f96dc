"""What is asked of a reader of gradient graphs, and what it answers.

A reader is a module with two functions: `read(computation) -> Trace` and `measure(computation) -> Measured`.
Each backend has one; `frostline.backends.dispatch` picks it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from frostline.errors import FrostlineError, said
from frostline.graph.ir import Builder, Graph, Kind, Where


@dataclass(frozen=True, slots=True)
class ReadVariable:
    """A variable that the computation may read.

    Attributes:
        name: Its address, or what the user calls it.
        variable: A `keras.Variable`, or a variable or tensor of the backend.
        kind: `weight` where the question is about it, `state` where its model owns it otherwise, `input` for
            a captured tensor of data.
    """

    name: str
    variable: Any = field(repr=False)
    kind: Kind = "weight"


@dataclass(frozen=True, slots=True)
class Argument:
    """What the function is called with, in its order.

    Attributes:
        value: A tensor, an array, or any nest of them.
        kind: `weight` or `input`.
        name: Stands before the names of its parts; may be empty.
    """

    value: Any = field(repr=False)
    kind: Kind = "input"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Computation:
    """A computation to look at.

    Attributes:
        loss: A function of `arguments` that returns a scalar tensor.
        variables: The variables it may read. One that it reads and that is not among them is `foreign`.
        arguments: What it is called with.
        layers: Addresses of layers by the `id` of the layer. Others are named by the layers around them.
        routes_only: Whether what depends on no weight may be left out of the graph.
    """

    loss: Callable[..., Any] = field(repr=False)
    variables: tuple[ReadVariable, ...] = ()
    arguments: tuple[Argument, ...] = ()
    layers: Mapping[int, str] = field(default_factory=dict, repr=False)
    routes_only: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """An assignment to a variable during the computation. It was not carried out.

    Attributes:
        variable: The `keras.Variable`.
        layer: Address of the layer whose `call` does it.
        where: The user's line.
    """

    variable: Any = field(repr=False)
    layer: str | None
    where: Where | None


@dataclass(frozen=True, slots=True)
class UnknownLayer:
    """A layer that was called and is not among the layers of the computation.

    Attributes:
        layer: The layer.
        address: The address of the layer around it, and its own name.
        where: The user's line that called it.
    """

    layer: Any = field(repr=False)
    address: str
    where: Where | None


@dataclass(frozen=True, slots=True)
class Trace:
    """What a reader saw.

    Attributes:
        graph: The gradient graph.
        writes: Assignments to Keras variables.
        unknown_layers: Layers that nobody named; always empty where the computation names no layers.
        error: The error that the framework raises where a gradient is asked for, or "".
        unasked: Of which operations the framework could not be asked whether a gradient passes, and why; it
            is taken to pass there.
        branches: Lines at which Python chose a branch by the values of a tensor: what other values would lead
            to was not seen.
    """

    graph: Graph
    writes: tuple[Write, ...] = ()
    unknown_layers: tuple[UnknownLayer, ...] = ()
    error: str = ""
    unasked: tuple[str, ...] = ()
    branches: tuple[Where | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """The gradients on these data.

    Attributes:
        loss: The loss.
        gradients: For each weight, by its name, the gradient as a dense array, None where the framework
            gives none.
        error: The error that the framework raised instead, or "".
    """

    loss: float
    gradients: Mapping[str, npt.NDArray[Any] | None] = field(repr=False)
    error: str = ""

    @property
    def is_finite(self) -> bool:
        """Whether the loss is, and each number of each gradient."""
        return math.isfinite(self.loss) and all(map(is_finite, self.gradients.values()))

    def divided_by(self, scale: float) -> Measured:
        """Return the same of a loss that is so many times smaller; in float32 at least, which holds them."""
        if scale == 1:
            return self
        smaller = {n: None if g is None else wide(g) / scale for n, g in self.gradients.items()}
        return replace(self, loss=self.loss / scale, gradients=smaller)


class Reader(Protocol):
    """A module `reader` of a backend."""

    def read(self, computation: Computation) -> Trace:
        """Trace the computation and translate it."""

    def measure(self, computation: Computation) -> Measured:
        """Compute the loss and the gradients once, and leave every variable as it was."""


def unasked(what: str, error: Exception) -> str:
    """Say what could not be asked of the framework, and what it raised."""
    return f"{what} could not be asked for ({said(error)})"


def require_loss(value: Any) -> Any:
    """Return what a loss function returned, if it can be a loss at all.

    Raises:
        FrostlineError: It is None, a string, or a nest of values.
    """
    if value is None or isinstance(value, str | bytes | list | tuple | dict):
        raise FrostlineError(
            "the function returned no loss",
            received=f"{value!r}" if value is None else f"a {type(value).__name__}",
            expected="one scalar tensor",
            remedy="return the loss from the function, and nothing else",
        )
    return value


def trace_of_host_read(
    names: Iterable[str], operation: str, layer: str | None, where: Where | None, error: str
) -> Trace:
    """Return the trace of a computation that left the framework, where the framework shows no more than that.

    Every weight then leads to that place, and the loss comes from it: it gives a gradient to none.
    """
    build = Builder()
    weights = [build.leaf("weight", name) for name in names]
    left = build.node(
        operation, [(w, "left_framework") for w in weights], layer=layer, where=where, differentiable=False
    )
    return Trace(build.graph(build.node("loss", [(left, "left_framework")])), error=error)


def is_finite(gradient: npt.NDArray[Any] | None) -> bool:
    """Whether each number of a gradient is."""
    return gradient is None or bool(np.isfinite(gradient).all())


def wide(gradient: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a gradient in float32 at least."""
    return gradient if gradient.dtype.itemsize > 2 else gradient.astype("float32")


def norm(gradient: npt.NDArray[Any] | None) -> float | None:
    """Return the Euclidean norm of a gradient, computed in float64."""
    if gradient is None:
        return None
    wide = gradient.astype("complex128" if gradient.dtype.kind == "c" else "float64")
    return float(np.linalg.norm(wide.reshape(-1)))
