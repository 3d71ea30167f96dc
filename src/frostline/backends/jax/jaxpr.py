"""Goes through a jaxpr and adds a node to the neutral graph for each value in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core

from frostline.backends.jax.internals import frames, function_name, parameter, scan_counts, scopes
from frostline.backends.jax.tangents import (
    CUSTOM_DERIVATIVE,
    blocking_reasons,
    inlined_jaxpr,
    is_differentiable,
)
from frostline.graph.ir import Builder, Leaf, Reason, Where
from frostline.graph.source_lines import users_line

Values = dict[Any, int]

_NAMES = {
    "convert_element_type": "cast",
    "div": "divide",
    "dot_general": "matmul",
    "eq": "equal",
    "ge": "greater_equal",
    "integer_pow": "power",
    "gt": "greater",
    "le": "less_equal",
    "logistic": "sigmoid",
    "lt": "less",
    "mul": "multiply",
    "ne": "not_equal",
    "pow": "power",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_sum": "sum",
    "select_n": "where",
    "sub": "subtract",
    "while": "while_loop",
}
"""What users call a primitive, where JAX names it otherwise."""

_SCOPE = re.compile(r"frostline\[(.*?)\]")


def scope_name(address: str) -> str:
    """Return the name scope that tells the translation the layer of the equations in it."""
    return f"frostline[{address}]"


def is_inexact(value: Any) -> bool:
    """Whether an array or a Python number is floating or complex."""
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.inexact))


class JaxprTranslation:
    """Goes through a jaxpr and all in it, in order, and adds a node for each value.

    With `routes_only`, only for those that depend on a weight.
    """

    def __init__(self, known: dict[int, tuple[Any, Leaf]], *, routes_only: bool = False) -> None:
        self.build = Builder()
        self._known = known
        self._routes_only = routes_only
        self._leaves: dict[int, int] = {}
        self._unplaced: set[int] = set()
        self._kept_alive: list[Any] = []

    def run(
        self, closed: core.ClosedJaxpr, inputs: Sequence[int | None], layer: str | None, where: Where | None
    ) -> list[int]:
        """Add a jaxpr, and return the nodes of its outputs.

        Args:
            closed: The jaxpr.
            inputs: The node of each of its inputs; None for one that is left out, such as a Python number.
            layer: The layer of what runs it.
            where: The user's line of what runs it.
        """
        jaxpr = closed.jaxpr
        values: Values = {v: n for v, n in zip(jaxpr.invars, inputs, strict=True) if n is not None}
        for variable, constant in zip(jaxpr.constvars, closed.consts, strict=True):
            if not self._routes_only or self._is_weight(constant):
                values[variable] = self.leaf_of(constant)
        for equation in jaxpr.eqns:
            self._equation(jaxpr, equation, values, layer, where)
        return [self._output(atom, values) for atom in jaxpr.outvars]

    def _is_weight(self, array: Any) -> bool:
        return id(array) in self._known and self._known[id(array)][1].kind == "weight"

    def leaf_of(self, array: Any) -> int:
        """The leaf of a captured array, the same one each time."""
        if id(array) not in self._leaves:
            self._kept_alive.append(array)  # its `id` must stay its own
            nbytes, differentiable = int(getattr(array, "nbytes", 0)), is_inexact(array)
            _, leaf = self._known.get(id(array), (array, Leaf("constant")))
            self._leaves[id(array)] = self.build.leaf(
                leaf.kind, leaf.name, nbytes=nbytes, differentiable=differentiable, layer=leaf.layer
            )
            if leaf.kind == "foreign":
                self._unplaced.add(self._leaves[id(array)])
        return self._leaves[id(array)]

    def _output(self, atom: Any, values: Values) -> int:
        node = self._value(atom, values)
        return self.build.leaf("constant", differentiable=is_differentiable(atom)) if node is None else node

    def _value(self, atom: Any, values: Values) -> int | None:
        return None if isinstance(atom, core.Literal) else values.get(atom)

    def _equation(
        self,
        jaxpr: core.Jaxpr,
        equation: core.JaxprEqn,
        values: Values,
        layer: str | None,
        where: Where | None,
    ) -> None:
        inputs = [self._value(atom, values) for atom in equation.invars]
        if self._routes_only and all(node is None for node in inputs):
            return
        # Inside a jitted function both are kept from the call on only: what is known of the call holds there.
        layer = layer_of(equation) or layer
        where = place_of(equation) or where
        for node in self._unplaced.intersection(inputs):
            self._unplaced.discard(node)
            self.build.place(node, layer, where)
        name = equation.primitive.name
        enter: dict[str, Callable[..., list[int]]] = {
            "cond": self._cond,
            "scan": self._scan,
            "while": self._while,
        }
        inner = None if name in CUSTOM_DERIVATIVE else inlined_jaxpr(equation)
        if name in enter:
            outputs = enter[name](equation, inputs, layer, where)
        elif inner is not None:
            outputs = self.run(inner, inputs, layer, where)
        else:
            outputs = self._plain(jaxpr, equation, inputs, layer, where)
        values.update(zip(equation.outvars, outputs, strict=True))

    def _plain(
        self,
        jaxpr: core.Jaxpr,
        equation: core.JaxprEqn,
        inputs: Sequence[int | None],
        layer: str | None,
        where: Where | None,
    ) -> list[int]:
        outputs = []
        name = operation_of(equation)
        for out, reasons in zip(equation.outvars, blocking_reasons(jaxpr, equation), strict=True):
            entries = [(i, reason) for i, reason in zip(inputs, reasons, strict=True) if i is not None]
            differentiable = is_differentiable(out)
            title = "argsort" if name == "sort" and not differentiable else name
            node = self.build.node(
                title,
                entries,
                layer=layer,
                where=where,
                differentiable=differentiable,
                dtype=str(getattr(out.aval, "dtype", "")),
                shape=getattr(out.aval, "shape", None),
            )
            outputs.append(node)
        return outputs

    # Control flow ---------------------------------------------------------------------------------

    def _merged(
        self,
        operation: str,
        out: Any,
        entries: Sequence[tuple[int | None, Reason | None]],
        layer: str | None,
        where: Where | None,
    ) -> int:
        return self.build.node(
            operation,
            [(node, reason) for node, reason in entries if node is not None],
            layer=layer,
            where=where,
            differentiable=is_differentiable(out),
        )

    def _cond(
        self, equation: core.JaxprEqn, inputs: list[int | None], layer: str | None, where: Where | None
    ) -> list[int]:
        chosen, *rest = inputs  # the index of the branch: an integer, by which its edge is cut
        branches = [self.run(branch, rest, layer, where) for branch in parameter(equation, "branches")]
        return [
            self._merged("cond", out, [(chosen, None), *((node, None) for node in nodes)], layer, where)
            for out, *nodes in zip(equation.outvars, *branches, strict=True)
        ]

    def _carried(
        self, jaxpr: core.Jaxpr, first: int, initial: Sequence[int | None], layer: str | None, where: Any
    ) -> list[int]:
        """A node for each value that a loop hands on, made from its initial value.

        The body is translated once, with an edge back from its end to this node, so that a route which takes
        several turns, from one carried value to the next, is found as any other.
        """
        ends = zip(jaxpr.invars[first : first + len(initial)], initial, strict=True)
        return [self._merged("loop", variable, [(node, None)], layer, where) for variable, node in ends]

    def _scan(
        self, equation: core.JaxprEqn, inputs: list[int | None], layer: str | None, where: Where | None
    ) -> list[int]:
        closed = parameter(equation, "jaxpr")
        consts, carries = scan_counts(equation)
        initial = inputs[consts : consts + carries]
        carried = self._carried(closed.jaxpr, consts, initial, layer, where)
        rest = inputs[consts + carries :]
        outputs = self.run(closed, [*inputs[:consts], *carried, *rest], layer, where)
        for node, result in zip(carried, outputs[:carries], strict=True):
            self.build.edge(result, node)
        # A scan of length zero never runs its body, and hands on what it was given.
        return [*(outputs[:carries] if parameter(equation, "length") else carried), *outputs[carries:]]

    def _while(
        self, equation: core.JaxprEqn, inputs: list[int | None], layer: str | None, where: Where | None
    ) -> list[int]:
        test, inner = parameter(equation, "cond_jaxpr"), parameter(equation, "body_jaxpr")
        of_test, of_body = parameter(equation, "cond_nconsts"), parameter(equation, "body_nconsts")
        initial = inputs[of_test + of_body :]
        carried = self._carried(inner.jaxpr, of_body, initial, layer, where)
        outputs = self.run(inner, [*inputs[of_test : of_test + of_body], *carried], layer, where)
        (again,) = self.run(test, [*inputs[:of_test], *carried], layer, where)
        for node, result in zip(carried, outputs, strict=True):
            self.build.edge(result, node)
        # JAX differentiates such a loop forwards only, and raises where it should backwards.
        return [
            self._merged(
                "while_loop",
                out,
                [(node, "unregistered" if is_differentiable(out) else None), (again, None)],
                layer,
                where,
            )
            for out, node in zip(equation.outvars, carried, strict=True)
        ]


def layer_of(equation: core.JaxprEqn) -> str | None:
    """Return the address of the innermost layer that an equation was made in."""
    around = _SCOPE.findall(scopes(equation))
    return around[-1] if around else None


def operation_of(equation: core.JaxprEqn) -> str:
    """Return what users call an equation's operation."""
    name = equation.primitive.name
    if name in CUSTOM_DERIVATIVE:
        return function_name(equation)
    return _NAMES.get(name, name)


def place_of(equation: core.JaxprEqn) -> Where | None:
    """Return the user's line of an equation; inside a jitted function JAX keeps only the frames inside it."""
    return users_line(frames(equation))
