"""Comparing one loss at many values of the weights, on TensorFlow: wide numbers, and the same random ones."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from frostline.backends.tensorflow.internals import random_numbers_kept


def float64_enabled() -> AbstractContextManager[None]:
    """Compute in float64: TensorFlow always can."""
    return nullcontext()


def same_randomness() -> AbstractContextManager[None]:
    """Draw the same numbers every time: Keras does by itself; TensorFlow's own generators are put back."""
    return random_numbers_kept()


def operation_by_operation() -> AbstractContextManager[None]:
    """Compute as the program says: TensorFlow does, where nothing is compiled."""
    return nullcontext()
