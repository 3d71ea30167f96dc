"""A computation on TensorFlow, step by step: where it stops being finite, and where gradients become zero.

It runs eagerly, as it is measured, and every operation is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from frostline.backends.tensorflow import internals
from frostline.backends.tensorflow.measure import variables_kept
from frostline.backends.tensorflow.operations import operation_name
from frostline.backends.tensorflow.tracing import functions_inlined, native, placed
from frostline.graph.not_finite import NotFinite
from frostline.graph.reader import Computation, ReadVariable
from frostline.graph.source_lines import run_user_code, users_line_now
from frostline.graph.stepwise import Step, Stepwise
from frostline.graph.watch import Watch
from frostline.graph.zero_gradient import Zeroing


def first(computation: Computation) -> NotFinite | None:
    """Run the computation, and return the first operation whose result or gradient is not finite."""
    with _run(computation) as (steps, loss):
        return steps.first_not_finite(loss)


def zeroing(computation: Computation) -> list[Zeroing]:
    """Run the computation, and return where gradients become zero on their way back."""
    with _run(computation) as (steps, loss):
        return steps.zeroing(loss)


@contextmanager
def _run(computation: Computation) -> Iterator[tuple[Stepwise, Any]]:
    """Run the computation forwards; variables of TensorFlow get their values back at the end of the block."""
    sources = [source for source in computation.variables if source.kind == "weight"]
    named = [(source.name, held) for source in sources if (held := native(source.variable)) is not None]
    kept = []  # each is told by its `id`
    given: list[tuple[str, Any]] = []

    def argument(value: Any, source: ReadVariable) -> Any:
        kept.append(value)
        if source.kind == "weight":
            named.append((source.name, value))
        else:
            given.append((source.name, value))
        return value

    with internals.random_numbers_kept(), functions_inlined(), variables_kept():
        arguments = [placed(one, argument) for one in computation.arguments]
        names = {id(one): name for name, held in named for one in (held, getattr(held, "handle", held))}
        watch, steps = Watch(computation), Stepwise(_Numbers(), names, [*map(id, kept), *names])
        _name_all(steps, computation, given)

        def ran(kind: str, taken: tuple[Any, ...], attributes: tuple[Any, ...], made: Sequence[Any]) -> None:
            kept.append((taken, made))
            if kind in _READS:
                steps.add_read(taken, made)
                return

            def back(received: Sequence[Any]) -> Sequence[Any]:
                return _given_back(kind, taken, attributes, received)

            place = watch.layer, users_line_now()
            steps.add(Step(operation_name(kind), *place, taken, tuple(made), back))

        with internals.every_operation(ran), watch:
            loss = run_user_code(computation.loss, *arguments)
            loss = tf.reduce_sum(tf.convert_to_tensor(loss))
        yield steps, loss


def _name_all(steps: Stepwise, computation: Computation, given: list[tuple[str, Any]]) -> None:
    """Say what variables and data are called."""
    for source in computation.variables:
        if (held := native(source.variable)) is not None:
            steps.add_name(getattr(held, "handle", held), source.name, "weight")
    for name, value in given:
        steps.add_name(value, name, "data")


_READS = ("ReadVariableOp", "ResourceGather")
"""Operations on variables themselves: what comes back to a variable goes no further."""


def _given_back(
    kind: str, taken: Sequence[Any], attributes: tuple[Any, ...], received: Sequence[Any]
) -> list[Any]:
    """Return the gradient by each input of an operation, None where there is none."""
    with tf.GradientTape() as tape:
        tape.watch([one for one in taken if _is_number(one)])
        made = internals.run_again(kind, taken, attributes, len(received))
    places = [place for place, one in enumerate(made) if _is_number(one)]
    outputs, given = [made[place] for place in places], [received[place] for place in places]
    gradients = tape.gradient(outputs, list(taken), output_gradients=given)
    return [None if one is None else tf.convert_to_tensor(one) for one in gradients]


class _Numbers:
    def wide(self, value: Any) -> Any:
        if value is None or not _is_number(value):
            return None
        return np.asarray(value.numpy()).astype("complex128" if value.dtype.is_complex else "float64")

    def ones_like(self, value: Any) -> Any:
        return tf.ones_like(value)

    def zeros_like(self, value: Any) -> Any:
        return tf.zeros_like(value) if _is_number(value) else None

    def times(self, gradient: Any, shares: Any) -> Any:
        return gradient * tf.cast(shares, gradient.dtype)


def _is_number(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)
