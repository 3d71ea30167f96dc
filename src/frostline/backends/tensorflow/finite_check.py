"""Whether values are finite, found on the device without waiting for it, on TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


@tf.function(autograph=False)  # type: ignore[untyped-decorator]
def _all_finite(values: Sequence[Any]) -> Any:
    return tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(value)) for value in values]))


def all_finite(values: Sequence[Any]) -> Any:
    """Return a boolean on the device: whether no value holds NaN or infinity."""
    return _all_finite(list(values))


def read(flags: Sequence[Any]) -> list[bool]:
    """Wait for flags and return them."""
    return [bool(flag.numpy()) for flag in flags]
