"""The reader for JAX: from the jaxpr of a loss to the neutral graph."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from frostline.backends.jax.jaxpr import JaxprTranslation, is_inexact, scope_name
from frostline.backends.jax.modules import key_of
from frostline.errors import said, text_of
from frostline.graph.ir import Kind, Leaf
from frostline.graph.reader import Computation, Measured, Trace, require_loss, trace_of_host_read
from frostline.graph.source_lines import is_own_class, run_user_code, users_line_of_error
from frostline.graph.watch import Watch

_LEAVES_JAX = (
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.ConcretizationTypeError,
)
"""What JAX raises where a value would have to leave the computation."""


def read(computation: Computation) -> Trace:
    """Trace the computation and translate its jaxpr."""
    inputs = LossInputs(computation)
    with Watch(computation, around=lambda address: jax.named_scope(scope_name(address))) as watch:
        watch.fill = initial_value
        try:
            closed = jax.make_jaxpr(lambda values: inputs.loss(watch, values))(inputs.values)
        except _LEAVES_JAX as error:
            name = re.search(r"`(\w+)` function", text_of(error))
            operation = name[1] if name else "numpy"
            return trace_of_host_read(
                inputs.names, operation, watch.failed_in, users_line_of_error(error), text_of(error)
            )
    translation = JaxprTranslation(inputs.known(watch), routes_only=computation.routes_only)
    build = translation.build
    nodes = [
        build.leaf(kind, name, differentiable=is_inexact(value))
        if kind == "weight" or not computation.routes_only
        else None
        for name, kind, value in inputs.leaves
    ]
    for source in computation.variables:
        if source.kind == "weight" and source.name not in inputs.names:
            translation.leaf_of(_array(source.variable))
    (loss,) = translation.run(closed, nodes, None, None)
    return Trace(build.graph(loss), tuple(watch.writes), tuple(watch.unknown_layers))


def measure(computation: Computation) -> Measured:
    """Compute the loss and its gradients in one compiled step."""
    inputs = LossInputs(computation)
    asked = {name: value for name, kind, value in inputs.leaves if kind == "weight"}
    weights = [
        place
        for place, (_, kind, value) in enumerate(inputs.leaves)
        if kind == "weight" and is_inexact(value)  # by integers JAX differentiates nothing, and raises
    ]

    def loss(chosen: list[Any], values: list[Any]) -> Any:
        every = list(values)
        for place, value in zip(weights, chosen, strict=True):
            every[place] = value
        return inputs.loss(watch, every)

    with Watch(computation) as watch:
        watch.fill = initial_value
        chosen = [inputs.values[place] for place in weights]
        try:
            value, gradients = jax.jit(jax.value_and_grad(loss))(chosen, inputs.values)
        except (TypeError, ValueError, NotImplementedError) as error:
            return Measured(float("nan"), {}, error=text_of(error).strip() or said(error))
    names = [inputs.leaves[place][0] for place in weights]
    arrays = {n: np.asarray(g) for n, g in zip(names, gradients, strict=True)}
    return Measured(float(value), {**dict.fromkeys(asked), **arrays})


def _array(variable: Any) -> Any:
    """The array that is read for a variable."""
    return getattr(variable, "value", variable)


def _raw_arrays(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the floating arrays among the attributes of a layer of the user's own, each with its name.

    JAX has no variables of its own: an array that somebody means to train looks like any constant. What
    Keras itself puts on a layer is one.
    """
    if not is_own_class(type(layer)):
        return
    for name, value in vars(layer).items():
        for path, array in _arrays_in(value):
            if is_inexact(array) and not _is_of_keras(type(layer), name):
                yield "/".join((name, *path)), array


def _arrays_in(value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield an array, or those that stand in a container, each with its key."""
    parts: list[tuple[tuple[str, ...], Any]]
    if isinstance(value, dict):
        parts = [((str(key),), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [((str(place),), part) for place, part in enumerate(value)]
    else:
        parts = [((), value)]
    for key, part in parts:
        if isinstance(part, jax.Array) and not isinstance(part, jax.core.Tracer):
            yield key, part


def _is_of_keras(kind: type, name: str) -> bool:
    """Whether the code of a class of Keras among the bases knows an attribute, as `mean` of Normalization."""
    functions = (
        function
        for base in kind.__mro__
        if base.__module__.startswith("keras.")
        for function in vars(base).values()
        if inspect.isfunction(function)
    )
    return any(name in function.__code__.co_names for function in functions)


def initial_value(variable: Any) -> Any:
    """The value of a variable that was made during tracing, when its initializer may not be traced."""
    with jax.ensure_compile_time_eval():
        return jnp.asarray(variable.value)


class LossInputs:
    """What the loss is a function of: the weights, then the parts of its arguments."""

    def __init__(self, computation: Computation) -> None:
        self._computation = computation
        self._mapped = [
            s for s in computation.variables if s.kind == "weight" and hasattr(s.variable, "value")
        ]
        self.leaves: list[tuple[str, Kind, Any]] = [
            (s.name, "weight", s.variable.value) for s in self._mapped
        ]
        self._trees: list[tuple[Any, list[Any]]] = []
        for argument in computation.arguments:
            paths, tree = jax.tree_util.tree_flatten_with_path(argument.value)
            places: list[Any] = []
            for path, value in paths:
                if isinstance(value, np.ndarray | jax.Array | float | complex | np.generic):
                    kind: Kind = argument.kind if is_inexact(value) else "input"
                    name = "/".join(part for part in (argument.name, *map(key_of, path)) if part)
                    places.append(len(self.leaves))
                    self.leaves.append((name, kind, value))
                else:
                    places.append(_NotAnArray(value))
            self._trees.append((tree, places))
        self.names = [name for name, kind, _ in self.leaves if kind == "weight"]
        self.values = [value for _, _, value in self.leaves]

    def loss(self, watch: Watch, values: Sequence[Any]) -> Any:
        """The loss as a function of the values alone."""
        watch.substitute(zip((source.variable for source in self._mapped), values, strict=False))
        arguments = [
            jax.tree_util.tree_unflatten(
                tree, [p.value if isinstance(p, _NotAnArray) else values[p] for p in places]
            )
            for tree, places in self._trees
        ]
        return jnp.sum(jnp.asarray(require_loss(run_user_code(self._computation.loss, *arguments))))

    def known(self, watch: Watch) -> dict[int, tuple[Any, Leaf]]:
        """The arrays that the loss may have captured, by `id`, and what each is."""
        mapped = {id(source.variable) for source in self._mapped}
        known: dict[int, tuple[Any, Leaf]] = {}
        for variable, layer in watch.read.values():
            if id(variable) not in mapped:
                array = watch.value_of(variable)
                known[id(array)] = array, Leaf("foreign", variable.path, layer=layer)
        for address, layer in watch.layers.items() if self._computation.layers else ():
            for name, array in _raw_arrays(layer):
                known[id(array)] = array, Leaf("foreign", f"{address}/{name}" if address else name)
        for source in self._computation.variables:
            if id(source.variable) not in mapped:
                array = _array(source.variable)
                known[id(array)] = array, Leaf(source.kind, source.name)
        return known


@dataclass(frozen=True, slots=True)
class _NotAnArray:
    """A part of an argument that is not an array, handed on as it is."""

    value: Any
