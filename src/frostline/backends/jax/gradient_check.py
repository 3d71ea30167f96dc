"""Comparing one loss at many values of the weights, on JAX: wide numbers, and the same random ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import jax


@contextmanager
def float64_enabled() -> Iterator[None]:
    """Let JAX compute in float64."""
    with jax.enable_x64(True):
        yield


def same_randomness() -> AbstractContextManager[None]:
    """Draw the same numbers every time: Keras on JAX does, where no seed is written."""
    return nullcontext()


def operation_by_operation() -> AbstractContextManager[None]:
    """Compute as the program says: compiled, a product with a mask may become a choice, which drops NaN."""
    return jax.disable_jit()
