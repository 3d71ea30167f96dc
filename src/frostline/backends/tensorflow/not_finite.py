"""The first operation of a computation on TensorFlow whose result, or whose gradient, is not finite.

The computation runs eagerly, as it is measured, and every operation is seen; then each is gone back through
by itself, the last one first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from frostline.backends.tensorflow import internals
from frostline.backends.tensorflow.gradients import differentiable
from frostline.backends.tensorflow.measure import variables_kept
from frostline.backends.tensorflow.operations import operation_name
from frostline.backends.tensorflow.tracing import functions_inlined, native, placed
from frostline.graph.ir import Where
from frostline.graph.not_finite import BadResults, NotFinite, not_finite_at
from frostline.graph.reader import Computation, ReadVariable
from frostline.graph.source_lines import run_user_code, users_line_now
from frostline.graph.watch import Watch
from frostline.graph.zero_gradient import Zeroing, zeroing_at


def first(computation: Computation) -> NotFinite | None:
    """Run the computation forwards and, where its result is finite, backwards."""
    with _run(computation) as (steps, loss):
        if not _is_finite(loss):
            return steps.cause_of(loss)
        for step, received, gradient in steps.backwards(loss):
            if not _is_finite(gradient) and all(map(_is_finite, received)):
                return step.found(gradient, backward=True)
    return None


def zeroing(computation: Computation) -> list[Zeroing]:
    """Run the computation forwards and backwards, and return where a gradient becomes zero."""
    found = []
    with _run(computation) as (steps, loss):
        for step, received, gradient in steps.backwards(loss):
            given = next((_wide(one) for one in received if one is not None), None)
            if given is not None:
                name = operation_name(step.kind)
                found.append(zeroing_at(name, given, _wide(gradient), step.layer, step.where))
        found += [
            Zeroing(operation_name(step.kind), step.layer, step.where, 1, 1, 1) for step in steps.cancelled
        ]
    return [one for one in found if one is not None]


@contextmanager
def _run(computation: Computation) -> Iterator[tuple[_Steps, Any]]:
    """Run the computation forwards; variables of TensorFlow get their values back at the end of the block."""
    weights = {s.name: native(s.variable) for s in computation.variables if s.kind == "weight"}
    watch = Watch(computation)
    steps = _Steps(watch, [held for held in weights.values() if held is not None])
    with internals.random_numbers_kept(), functions_inlined(), variables_kept():
        arguments = [placed(argument, steps.argument) for argument in computation.arguments]
        with internals.every_operation(steps.add), watch:
            loss = run_user_code(computation.loss, *arguments)
            loss = tf.reduce_sum(tf.convert_to_tensor(loss))
        yield steps, loss


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation, and what it took and made."""

    kind: str
    layer: str | None
    where: Where | None
    taken: tuple[Any, ...]
    attributes: tuple[Any, ...]
    made: tuple[Any, ...]

    def found(self, bad: Any, *, backward: bool = False) -> NotFinite:
        operands = [_wide(one) for one in self.taken if differentiable(one)]
        place = self.layer, self.where
        return not_finite_at(operation_name(self.kind), _wide(bad), operands, place, backward=backward)

    def given_back(self, received: Sequence[Any]) -> list[Any]:
        """Return the gradient by each input, None where there is none, from those by the outputs."""
        with tf.GradientTape() as tape:
            tape.watch([one for one in self.taken if differentiable(one)])
            again = internals.run_again(self.kind, self.taken, self.attributes, len(self.made))
        kept = [n for n, one in enumerate(again) if differentiable(one)]
        outputs, gradients = [again[n] for n in kept], [received[n] for n in kept]
        return list(tape.gradient(outputs, list(self.taken), output_gradients=gradients))


class _Steps:
    """Keeps all operations in their order, and what they took and made, so that each is told by its `id`."""

    def __init__(self, watch: Watch, weights: Sequence[Any]) -> None:
        self._watch = watch
        self._of_weight = {id(one) for held in weights for one in (held, getattr(held, "handle", held))}
        self._arguments: list[Any] = []
        self._steps: list[_Step] = []
        self.cancelled: list[_Step] = []
        """Operations whose gradient by an input is the negative of what came back to that before."""
        self._bad: BadResults[tuple[Any, _Step]] = BadResults()

    def argument(self, value: Any, source: ReadVariable) -> Any:
        """Note an argument of the loss."""
        self._arguments.append(value)
        if source.kind == "weight":
            self._of_weight.add(id(value))
        return value

    def add(
        self, kind: str, taken: tuple[Any, ...], attributes: tuple[Any, ...], made: Sequence[Any]
    ) -> None:
        """Note an operation that has just run."""
        step = _Step(kind, self._watch.layer, users_line_now(), taken, attributes, tuple(made))
        self._steps.append(step)
        if not self._of_weight.isdisjoint(map(id, taken)):
            self._of_weight.update(map(id, made))
        for one in made if kind not in _READS else ():
            if not _is_finite(one):
                self._bad.add(id(one), (one, step), (id(t) for t in taken if not _is_finite(t)))

    def cause_of(self, loss: Any) -> NotFinite | None:
        """Return what made the loss not finite, where operations did."""
        found = self._bad.cause_of(id(loss))
        return found[1][1].found(found[1][0]) if found else None

    def backwards(self, loss: Any) -> Iterator[tuple[_Step, list[Any], Any]]:
        """Go back from the loss, as far as weights are behind.

        Yields:
            Each step, the gradients by what it made, and the gradient by each input, one after the other.
        """
        received: dict[int, Any] = {id(loss): tf.ones_like(loss)}
        for step in reversed(self._steps):
            if received.keys().isdisjoint(map(id, step.made)) or step.kind in _READS:
                continue
            if self._of_weight.isdisjoint(map(id, step.taken)):
                continue
            at_outputs = [received[id(o)] if id(o) in received else _zeros_like(o) for o in step.made]
            for value, gradient in zip(step.taken, step.given_back(at_outputs), strict=True):
                if gradient is None or id(value) not in self._of_weight:
                    continue
                dense = tf.convert_to_tensor(gradient)
                yield step, at_outputs, dense
                before = received.get(id(value))
                received[id(value)] = dense if before is None else before + dense
                if before is not None and _any(dense) and not _any(received[id(value)]):
                    self.cancelled.append(step)


_READS = ("ReadVariableOp", "ResourceGather")
"""Operations on variables themselves: what comes back to a variable goes no further."""


def _zeros_like(tensor: Any) -> Any:
    return tf.zeros_like(tensor) if differentiable(tensor) else None


def _is_finite(tensor: Any) -> bool:
    if tensor is None:
        return True
    is_number = tensor.dtype.is_floating or tensor.dtype.is_complex
    return not is_number or bool(np.isfinite(tensor.numpy()).all())


def _wide(tensor: Any) -> Any:
    return np.asarray(tensor.numpy()).astype("complex128" if tensor.dtype.is_complex else "float64")


def _any(tensor: Any) -> bool:
    return bool(np.any(tensor.numpy()))
