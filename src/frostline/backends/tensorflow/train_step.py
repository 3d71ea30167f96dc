"""Looking at computations without carrying them through, on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import tensorflow as tf

from frostline._keras.methods import patched


@contextmanager
def gradients_noted(note: Callable[[Any], None]) -> Iterator[None]:
    """Let gradient tapes note the loss and give zeros, without differentiating."""

    def gradient(tape: Any, target: Any, sources: Any, *_: Any, **__: Any) -> Any:
        for one in tf.nest.flatten(target):
            note(one)
        return tf.nest.map_structure(lambda source: tf.zeros(source.shape, source.dtype), sources)

    with patched(tf.GradientTape, gradient=gradient):
        yield


def arguments(model: Any, data: Any) -> tuple[Any, ...]:
    """Return what `train_step` takes: the data."""
    return (data,)


def wide_floats() -> AbstractContextManager[None]:
    """Compute in float64: TensorFlow always can."""
    return nullcontext()


def same_randomness() -> AbstractContextManager[None]:
    """Draw the same numbers every time: Keras on TensorFlow does, where no seed is written."""
    return nullcontext()
