"""Comparing one loss at many values of the weights, on TensorFlow: wide numbers, and the same random ones."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


def float64_enabled() -> AbstractContextManager[None]:
    """Compute in float64: TensorFlow always can."""
    return nullcontext()


def same_randomness() -> AbstractContextManager[None]:
    """Draw the same numbers every time: Keras on TensorFlow does, where no seed is written."""
    return nullcontext()
