"""What a jaxpr of JAX's holds that JAX does not promise to keep, one small function each.

Tried on JAX 0.10; `tests/each_backend/backends/test_private_names.py` fails when a name goes away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jax.extend import core

from frostline.backends.private import entry, private


def parameter(equation: core.JaxprEqn, name: str) -> Any:
    """Return a parameter of the primitive of an equation."""
    return entry(equation.params, name, f"the primitive {equation.primitive.name}")


def scan_counts(equation: core.JaxprEqn) -> tuple[int, int]:
    """Return how many constants a scan has, and how many values it hands on: its first inputs.

    Up to JAX 0.10 they are parameters of their own; from 0.11 on, inputs are grouped by a tree, `ft_in`.
    """
    if "ft_in" not in equation.params:
        return parameter(equation, "num_consts"), parameter(equation, "num_carry")
    numbered = private(parameter(equation, "ft_in"), "update")(range(len(equation.invars)))
    consts, carries, _ = private(numbered, "unpack")()
    return len(list(consts)), len(list(carries))


def scopes(equation: core.JaxprEqn) -> str:
    """Return the name scopes around an equation."""
    return str(private(private(equation, "source_info"), "name_stack"))


def frames(equation: core.JaxprEqn) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and function of each frame that made an equation, the innermost first."""
    traceback = private(private(equation, "source_info"), "traceback")
    for frame in private(traceback, "frames") if traceback is not None else ():
        yield (
            private(frame, "file_name"),
            private(frame, "line_num"),
            private(frame, "function_name").rpartition(".")[2],
        )


def function_name(equation: core.JaxprEqn) -> str:
    """Return what the user called the function of a custom derivative, without the names around it."""
    called = private(private(parameter(equation, "call_jaxpr"), "jaxpr"), "debug_info")
    return str(private(called, "func_name")).rpartition(".")[2]


def shape_of(atom: Any) -> Any:
    """Return the abstract value of a variable of a jaxpr."""
    return private(atom, "aval")


def alone(jaxpr: core.Jaxpr, equation: core.JaxprEqn, inputs: list[Any]) -> core.ClosedJaxpr:
    """Return a jaxpr of one equation of another one."""
    single = private(jaxpr, "replace")(
        constvars=[], invars=inputs, outvars=list(equation.outvars), eqns=[equation]
    )
    return core.ClosedJaxpr(single, ())
