"""Training loops of the user's own, on TensorFlow: steps that `tf.function` traced under an earlier plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

_STALE = (
    "this tf.function was traced under an earlier plan, so it was stopped before it could move a frozen "
    "weight; fix: make it again after optimizer_for or apply, by calling tf.function(step)"
)


class CompiledSteps:
    """Counts plans, and stops steps that were traced under an earlier one.

    Only a number that the graph reads when it runs can stop it: Python is not asked again. XLA leaves the
    message out, but runs no update either.
    """

    stateless = False

    def __init__(self) -> None:
        self._count = 0
        self._now = tf.Variable(0, trainable=False, dtype=tf.int64, name="frostline_plan")

    def plan_changed(self) -> None:
        """Stop every step that was traced before."""
        self._count += 1
        self._now.assign(self._count)

    def run(self, update: Callable[[], None]) -> None:
        """Run an update: at once where TensorFlow runs eagerly, else in a graph that asks first."""
        # A condition cannot hold what the replicas of a distribution strategy merge.
        if tf.executing_eagerly() or tf.distribute.has_strategy():
            update()
            return

        def fresh() -> Any:
            update()
            return tf.constant(True)

        def stale() -> Any:
            with tf.control_dependencies([tf.debugging.Assert(False, [_STALE])]):
                return tf.constant(False)

        tf.cond(tf.equal(self._now, self._count), fresh, stale)


def compiled_steps() -> CompiledSteps:
    """Return what guards the steps of one loop."""
    return CompiledSteps()
