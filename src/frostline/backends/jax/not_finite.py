"""A computation on JAX, equation by equation: where it stops being finite, and where gradients become zero.

The jaxpr of the loss is run as it stands, loops turn by turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from frostline.backends.jax.internals import parameter, scan_counts, shape_of
from frostline.backends.jax.jaxpr import is_inexact, layer_of, operation_of, place_of, scope_name
from frostline.backends.jax.reader import LossInputs, initial_value
from frostline.backends.jax.tangents import CUSTOM_DERIVATIVE, as_function, inlined_jaxpr
from frostline.graph.ir import Where
from frostline.graph.not_finite import NotFinite
from frostline.graph.reader import Computation
from frostline.graph.stepwise import Step, Stepwise
from frostline.graph.watch import Watch
from frostline.graph.zero_gradient import Zeroing


def first(computation: Computation) -> NotFinite | None:
    """Run the computation, and return the first operation whose result or gradient is not finite."""
    steps, loss = _run(computation)
    return steps.first_not_finite(loss)


def zeroing(computation: Computation) -> list[Zeroing]:
    """Run the computation, and return where gradients become zero on their way back."""
    steps, loss = _run(computation)
    return steps.zeroing(loss)


def _run(computation: Computation) -> tuple[Stepwise, _Value]:
    inputs = LossInputs(computation)
    with Watch(computation, around=lambda address: jax.named_scope(scope_name(address))) as watch:
        watch.fill = initial_value
        closed = jax.make_jaxpr(lambda values: inputs.loss(watch, values))(inputs.values)
    values = [_Value(value) for _, _, value in inputs.leaves]
    named = zip(inputs.leaves, values, strict=True)
    weights = {id(value): name for (name, kind, _), value in named if kind == "weight"}
    steps = Stepwise(_Numbers(), weights, map(id, values))
    for (name, kind, _), value in zip(inputs.leaves, values, strict=True):
        steps.add_name(value, name, "weight" if kind == "weight" else "data")
    held = {key: leaf.name for key, (_, leaf) in inputs.known(watch).items() if leaf.name}
    (loss,) = _Interpreter(steps, held).run(closed, values, None, None)
    return steps, loss


class _Value:
    """An array, told from others that are equal or the same."""

    def __init__(self, array: Any) -> None:
        self.array = array


class _Numbers:
    def wide(self, value: Any) -> Any:
        array = _raw(value)
        if not is_inexact(array):
            return None
        is_complex = jnp.issubdtype(jnp.result_type(array), jnp.complexfloating)
        return np.asarray(array).astype("complex128" if is_complex else "float64")

    def ones_like(self, value: Any) -> Any:
        return jnp.ones_like(_raw(value))

    def zeros_like(self, value: Any) -> Any:
        array = _raw(value)
        return jnp.zeros_like(array) if is_inexact(array) else np.zeros(jnp.shape(array), jax.dtypes.float0)

    def times(self, gradient: Any, shares: Any) -> Any:
        array = _raw(gradient)
        return array * jnp.asarray(shares, array.dtype)


def _raw(value: Any) -> Any:
    return value.array if isinstance(value, _Value) else value


_Place = tuple[str | None, Where | None]
"""The layer of an operation and the user's line."""


class _Interpreter:
    """Runs a jaxpr and all in it, and adds a step for each equation.

    Args:
        steps: Where they are added.
        held: The names of variables whose values may stand in a jaxpr, by the `id` of these.
    """

    def __init__(self, steps: Stepwise, held: Mapping[int, str]) -> None:
        self._steps = steps
        self._held = held

    def _constant(self, array: Any) -> _Value:
        value = _Value(array)
        if id(array) in self._held:
            self._steps.add_name(value, self._held[id(array)], "weight")
        return value

    def run(
        self, closed: core.ClosedJaxpr, inputs: Sequence[_Value], layer: str | None, where: Where | None
    ) -> list[_Value]:
        """Run a jaxpr; layer and line are those of what runs it."""
        jaxpr = closed.jaxpr
        values: dict[Any, _Value] = dict(zip(jaxpr.invars, inputs, strict=True))
        values.update((v, self._constant(c)) for v, c in zip(jaxpr.constvars, closed.consts, strict=True))

        def of(atom: Any) -> _Value:
            return _Value(atom.val) if isinstance(atom, core.Literal) else values[atom]

        for equation in jaxpr.eqns:
            inside = layer_of(equation)  # "" is the model itself
            place = layer if inside is None else inside, place_of(equation) or where
            taken = [of(atom) for atom in equation.invars]
            inner = None if equation.primitive.name in CUSTOM_DERIVATIVE else inlined_jaxpr(equation)
            if inner is not None:
                made = self.run(inner, taken, *place)
            elif equation.primitive.name in _ENTERED:
                made = _ENTERED[equation.primitive.name](self, equation, taken, place)
            else:
                function, atoms = as_function(jaxpr, equation)
                made = self._step(operation_of(equation), place, function, [values[a] for a in atoms])
            values.update(zip(equation.outvars, made, strict=True))
        return [of(atom) for atom in jaxpr.outvars]

    def _step(
        self,
        operation: str,
        place: _Place,
        function: Callable[..., Sequence[Any]],
        taken: Sequence[_Value],
    ) -> list[_Value]:
        made = [_Value(array) for array in function(*(one.array for one in taken))]
        chosen = [self._steps.is_of_weight(one) and is_inexact(one.array) for one in taken]

        def back(received: Sequence[Any]) -> list[Any]:
            return _given_back(function, [one.array for one in taken], chosen, received)

        self._steps.add(Step(operation, *place, tuple(taken), tuple(made), back))
        return made

    # Control flow ---------------------------------------------------------------------------------

    def cond(self, equation: core.JaxprEqn, taken: list[_Value], place: _Place) -> list[_Value]:
        """Run the branch that is chosen."""
        index, *rest = taken
        branches = parameter(equation, "branches")
        return self.run(branches[min(max(int(index.array), 0), len(branches) - 1)], rest, *place)

    def scan(self, equation: core.JaxprEqn, taken: list[_Value], place: _Place) -> list[_Value]:
        """Run each turn by itself."""
        consts, carries = scan_counts(equation)
        fixed, carried, over = taken[:consts], taken[consts : consts + carries], taken[consts + carries :]
        turns = range(parameter(equation, "length"))
        collected: list[list[_Value]] = []
        for turn in reversed(turns) if parameter(equation, "reverse") else turns:
            rows = [self._step("slice", place, _row(turn), [one])[0] for one in over]
            made = self.run(parameter(equation, "jaxpr"), [*fixed, *carried, *rows], *place)
            carried = made[:carries]
            collected.append(made[carries:])
        if parameter(equation, "reverse"):
            collected.reverse()
        if not collected:
            shapes = map(shape_of, equation.outvars[carries:])
            return [*carried, *(_Value(jnp.zeros(one.shape, one.dtype)) for one in shapes)]
        together = zip(*collected, strict=True)
        return [*carried, *(self._step("stack", place, _stacked, rows)[0] for rows in together)]

    def while_loop(self, equation: core.JaxprEqn, taken: list[_Value], place: _Place) -> list[_Value]:
        """Run turn by turn for as long as the test says."""
        of_test, of_body = parameter(equation, "cond_nconsts"), parameter(equation, "body_nconsts")
        test, body = parameter(equation, "cond_jaxpr"), parameter(equation, "body_jaxpr")
        carried = taken[of_test + of_body :]
        while bool(self.run(test, [*taken[:of_test], *carried], *place)[0].array):
            carried = self.run(body, [*taken[of_test : of_test + of_body], *carried], *place)
        return carried


_ENTERED: dict[str, Callable[..., list[_Value]]] = {
    "cond": _Interpreter.cond,
    "scan": _Interpreter.scan,
    "while": _Interpreter.while_loop,
}


def _given_back(
    function: Callable[..., Sequence[Any]], taken: list[Any], chosen: list[bool], received: Sequence[Any]
) -> list[Any]:
    """Return the gradients by the chosen inputs of a function, None for the others."""
    places = [place for place, wanted in enumerate(chosen) if wanted]

    def of_chosen(*arrays: Any) -> Sequence[Any]:
        every = list(taken)
        for place, array in zip(places, arrays, strict=True):
            every[place] = array
        return function(*every)

    _, back = jax.vjp(lambda *arrays: tuple(of_chosen(*arrays)), *(taken[place] for place in places))
    given = dict(zip(places, back(tuple(received)), strict=True))
    return [given.get(place) for place in range(len(taken))]


def _row(turn: int) -> Callable[..., Sequence[Any]]:
    return lambda array: (array[turn],)


def _stacked(*rows: Any) -> Sequence[Any]:
    return (jnp.stack(rows),)
