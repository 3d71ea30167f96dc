"""Which inputs of one JAX equation a gradient comes back to: asked of JAX, not looked up in a list.

A list would be incomplete: primitives are added, and users register their own. JAX differentiates an equation
by itself without computing anything (`eval_shape`), and its symbolic zeros tell what has no derivative at all
from what happens to be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend import core

from frostline.backends.jax import internals
from frostline.graph.ir import Reason

Reasons = tuple[tuple[Reason | None, ...], ...]
"""For each output the reason of each input; None where a gradient passes, and where one end is an integer."""

CUSTOM_DERIVATIVE = ("custom_jvp_call", "custom_vjp_call")

_known: dict[Any, Reasons] = {}
"""Answers by primitive and dtypes. The parameters of a primitive that holds no function of the user's decide
shapes and axes, not whether there is a derivative."""


def blocking_reasons(jaxpr: core.Jaxpr, equation: core.JaxprEqn) -> Reasons:
    """Say why no gradient passes from each output of an equation to each of its inputs.

    Args:
        jaxpr: What holds the equation.
        equation: The equation.
    """
    name = equation.primitive.name
    if name == "stop_gradient":
        return tuple(tuple("stop_gradient" for _ in equation.invars) for _ in equation.outvars)
    if not any(is_differentiable(out) for out in equation.outvars):
        return tuple(tuple(None for _ in equation.invars) for _ in equation.outvars)
    holds_functions = next(iter(core.jaxprs_in_params(equation.params)), None) is not None
    if holds_functions or name in CUSTOM_DERIVATIVE:
        return _differentiate(jaxpr, equation)
    key = (equation.primitive, _dtypes(equation.invars), _dtypes(equation.outvars))
    if key not in _known:
        _known[key] = _differentiate(jaxpr, equation)
    return _known[key]


def is_differentiable(atom: Any) -> bool:
    """Whether a variable of a jaxpr is of a floating or complex dtype."""
    dtype = getattr(internals.shape_of(atom), "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.inexact)


def _dtypes(atoms: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(getattr(one, "dtype", one)) for one in map(internals.shape_of, atoms))


def _differentiate(jaxpr: core.Jaxpr, equation: core.JaxprEqn) -> Reasons:
    """Differentiate the equation alone, by one input after the other.

    Forwards, a rule of JAX's own says by a symbolic zero that there is no derivative. A rule of the user's
    cannot: `custom_vjp` has none forwards, and `custom_jvp` returns arrays, zero or not. For those the
    backward pass is traced, and asked what its result is computed from.
    """
    name = equation.primitive.name
    function, atoms = as_function(jaxpr, equation)
    by_backward = name in CUSTOM_DERIVATIVE
    refused: Reason = "left_framework" if "callback" in name else "unregistered"
    silent: Reason = "zero_gradient" if by_backward else "not_differentiable"
    reasons: dict[Any, list[Reason | None]] = {}
    for place, atom in enumerate(atoms):
        if not is_differentiable(atom):
            continue
        try:
            ask = _cotangents_pass if by_backward else _tangents_pass
            passes = ask(function, [_spec(atom) for atom in atoms], place)
            reasons[atom] = [None if one else silent for one in passes]
        except (NotImplementedError, ValueError, TypeError):
            reasons[atom] = [refused] * len(equation.outvars)
    nothing: list[Reason | None] = [None] * len(equation.outvars)
    columns = [nothing if isinstance(a, core.Literal) else reasons.get(a, nothing) for a in equation.invars]
    return tuple(tuple(column[out] for column in columns) for out in range(len(equation.outvars)))


def as_function(jaxpr: core.Jaxpr, equation: core.JaxprEqn) -> tuple[Callable[..., Any], list[Any]]:
    """Return the equation as a function of its inputs, each once, and those inputs."""
    atoms = list(dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, core.Literal)))
    return core.jaxpr_as_fun(internals.alone(jaxpr, equation, atoms)), atoms


def _spec(atom: Any) -> Any:
    shape = internals.shape_of(atom)
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype)  # type: ignore[no-untyped-call]


def _tangents_pass(function: Callable[..., Any], specs: list[Any], place: int) -> list[bool]:
    """For each output, whether its tangent is anything but a symbolic zero when input `place` has one."""
    seen: list[bool] = []

    # The identity, put behind the function: its own rule is handed the tangents, symbolic zeros included.
    @jax.custom_jvp
    def probe(*outputs: Any) -> Any:
        return outputs

    def rule(primals: Any, tangents: Any) -> Any:
        seen[:] = [not isinstance(tangent, SymbolicZero) for tangent in tangents]
        return primals, tangents

    probe.defjvp(rule, symbolic_zeros=True)

    def differentiated(*values: Any) -> Any:
        def by_one(value: Any) -> Any:
            return probe(*function(*values[:place], value, *values[place + 1 :]))

        return jax.jvp(by_one, (values[place],), (values[place],))

    outputs = jax.eval_shape(differentiated, *specs)[0]
    # JAX does not even ask the rule where no output has a tangent.
    return seen or [False] * len(outputs)


def _cotangents_pass(function: Callable[..., Any], specs: list[Any], place: int) -> list[bool]:
    """For each output, whether what comes back to input `place` depends on what comes to that output."""
    outputs = jax.eval_shape(function, *specs)
    kept = [index for index, out in enumerate(outputs) if jnp.issubdtype(out.dtype, jnp.inexact)]

    def differentiated(cotangents: Any, *values: Any) -> Any:
        def by_one(value: Any) -> Any:
            results = function(*values[:place], value, *values[place + 1 :])
            return [results[index] for index in kept]

        return jax.vjp(by_one, values[place])[1](cotangents)[0]

    closed = jax.make_jaxpr(differentiated)([outputs[index] for index in kept], *specs)
    depends = _dependence(closed.jaxpr)[0]
    return [index in kept and kept.index(index) in depends for index in range(len(outputs))]


def _dependence(jaxpr: core.Jaxpr) -> list[frozenset[int]]:
    """For each output of a jaxpr the places of the inputs that its values depend on."""
    found: dict[Any, frozenset[int]] = {var: frozenset({place}) for place, var in enumerate(jaxpr.invars)}

    def of(atom: Any) -> frozenset[int]:
        return frozenset() if isinstance(atom, core.Literal) else found.get(atom, frozenset())

    for equation in jaxpr.eqns:
        inner = inlined_jaxpr(equation)
        inputs = [of(atom) for atom in equation.invars]
        if inner is None or equation.primitive.name in CUSTOM_DERIVATIVE:
            results = [frozenset[int]().union(*inputs)] * len(equation.outvars)
        else:
            needed = _dependence(inner.jaxpr)
            results = [frozenset[int]().union(*(inputs[place] for place in places)) for places in needed]
        found.update(zip(equation.outvars, results, strict=True))
    return [of(atom) for atom in jaxpr.outvars]


def inlined_jaxpr(equation: core.JaxprEqn) -> core.ClosedJaxpr | None:
    """Return the one jaxpr that an equation does nothing but run (`jit`, `checkpoint`), or None."""
    if equation.primitive.name in ("scan", "while", "cond"):
        return None
    for parameter in ("jaxpr", "call_jaxpr"):
        inner = equation.params.get(parameter)
        if isinstance(inner, core.Jaxpr):
            inner = core.ClosedJaxpr(inner, ()) if not inner.constvars else None
        if inner is None or not isinstance(inner, core.ClosedJaxpr):
            continue
        same_ends = (len(inner.jaxpr.invars), len(inner.jaxpr.outvars)) == (
            len(equation.invars),
            len(equation.outvars),
        )
        return inner if same_ends else None
    return None
