"""Random small programs: what a reader makes of one is what its text says, and what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

from frostline.backends.dispatch import measure, trace
from frostline.graph.flow import Flow
from frostline.graph.ir import Builder, Graph, Reason, Where
from frostline.graph.reader import Computation, ReadVariable
from helpers.checks import examples

pytestmark = pytest.mark.every_backend

EXAMPLES = examples(100) // 4
WEIGHTS = 3
Computed = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Instruction:
    """What an instruction computes of two values, and how a gradient comes back to each of them."""

    compute: Computed
    first: Reason | None = None
    second: Reason | bool | None = False
    """False where the second value is not used."""


def _loop(body: Computed) -> Computed:
    return lambda a, b: ops.fori_loop(0, 2, lambda _, carried: body(carried, b), a)


INSTRUCTIONS: dict[str, Instruction] = {
    "add": Instruction(lambda a, b: a + 1.5 * b, None, None),
    "multiply": Instruction(lambda a, b: ops.sin(a * b), None, None),
    "sin": Instruction(lambda a, _: ops.sin(a + 0.1)),
    "sort": Instruction(lambda a, _: ops.sort(a)),
    "stop": Instruction(lambda a, b: ops.stop_gradient(a) + b, "stop_gradient", None),
    "stop_all": Instruction(lambda a, _: ops.stop_gradient(a), "stop_gradient"),
    "round": Instruction(lambda a, _: ops.round(3.0 * a) + 0.5, "not_differentiable"),
    "hard": Instruction(lambda a, _: ops.one_hot(ops.argmax(a), 3) + 0.25, "integer"),
    "cast": Instruction(lambda a, _: ops.cast(ops.cast(3.0 * a, "int32"), "float32") + 0.5, "integer"),
    "where": Instruction(lambda a, b: ops.where(b > 0.3, 0.5 * a, 2.0 * a), None, "integer"),
    "gather": Instruction(lambda a, b: ops.take(a, ops.argsort(b)), None, "integer"),
    "loop": Instruction(_loop(lambda carried, b: ops.sin(carried + b)), None, None),
    "loop_stopped": Instruction(_loop(lambda c, b: ops.stop_gradient(c) + ops.sin(b)), "stop_gradient", None),
    "cond": Instruction(
        lambda a, b: ops.cond(ops.sum(b) > 0.0, lambda: ops.sin(a), lambda: 2.0 * a),
        None,
        # PyTorch runs one branch, chosen by Python: the graph does not know what it was chosen by.
        False if keras.backend.backend() == "torch" else "integer",
    ),
}

Program = list[tuple[str, int, int]]


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Each line is an instruction and the places of the two values it uses: weights or earlier lines."""
    lines: Program = []
    for number in range(draw(st.integers(2, 6))):
        places = st.integers(0, WEIGHTS + number - 1)
        # The line before is used more often than others, so that cuts come to lie behind one another.
        first = draw(st.one_of(st.just(WEIGHTS + number - 1), places))
        lines.append((draw(st.sampled_from(sorted(INSTRUCTIONS))), first, draw(places)))
    return lines


def run(program: Program, weights: list[Any]) -> Any:
    values = [ops.convert_to_tensor(weight) for weight in weights]
    for name, first, second in program:
        values.append(INSTRUCTIONS[name].compute(values[first], values[second]))
    return ops.mean(values[-1] + 0.5 * values[-2])


def written_down(program: Program) -> Graph:
    """The graph as the text of the program has it."""
    build = Builder()
    for number in range(WEIGHTS):
        build.leaf("weight", f"w{number}")
    for name, first, second in program:
        one = INSTRUCTIONS[name]
        inputs: list[tuple[int, Reason | None]] = [(first, one.first)]
        if not isinstance(one.second, bool):
            inputs.append((second, one.second))
        # The instructions of one name run on one line: whoever mends it mends them all.
        build.node(name, inputs, where=Where(__file__, 1, name))
    return build.graph(build.node("mean", [len(build) - 1, len(build) - 2]))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_what_is_read_is_what_is_written(program: Program) -> None:
    rng = np.random.default_rng(3)
    weights = [keras.Variable(rng.uniform(0.2, 1, 3).astype("float32"), name=f"w{n}") for n in range(WEIGHTS)]
    computation = Computation(lambda: run(program, weights), tuple(ReadVariable(w.name, w) for w in weights))

    seen, expected = Flow(trace(computation).graph), Flow(written_down(program))
    measured = measure(computation)

    for number, name in enumerate(expected.graph.weights):
        place = seen.graph.weights[name]
        standing = expected.structural_status(number)
        assert seen.structural_status(place) == standing
        assert {e.reason for e in seen.cuts(place)} == {e.reason for e in expected.cuts(number)}
        assert bool(seen.behind(place)) == bool(expected.behind(number))
        gradient = measured.gradients.get(name)
        assert (gradient is not None and bool(gradient.any())) == (standing == "trains")
