"""Running a training step that somebody wrote by hand without training, on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from frostline._keras.methods import patched

OBEYS_FREEZING = False
"""Which weights train is decided when the step is compiled."""

CARRIES_LISTED_ONLY = False
"""Its step assigns to whatever the call assigns to."""


def is_put_off(variable: Any) -> bool:
    """Whether a flag beside Keras's keeps gradients from a variable: there is none."""
    return False


def put_off(variable: Any) -> None:
    """Do nothing: there is no such flag."""


@contextmanager
def intercept_gradients(record: Callable[[Any], None]) -> Iterator[None]:
    """Let gradient tapes record the loss and give zeros, without differentiating."""

    def gradient(tape: Any, target: Any, sources: Any, *_: Any, **__: Any) -> Any:
        for one in tf.nest.flatten(target):
            record(one)
        return tf.nest.map_structure(lambda source: tf.zeros(source.shape, source.dtype), sources)

    with patched(tf.GradientTape, gradient=gradient):
        yield


def arguments(model: Any, data: Any) -> tuple[Any, ...]:
    """Return what `train_step` takes: the data."""
    return (data,)
