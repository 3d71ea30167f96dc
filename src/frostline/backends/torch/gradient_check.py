"""Comparing one loss at many values of the weights, on PyTorch: wide numbers, and the same random ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


def float64_enabled() -> AbstractContextManager[None]:
    """Compute in float64: PyTorch always can."""
    return nullcontext()


@contextmanager
def same_randomness() -> Iterator[None]:
    """Draw the same numbers every time, from PyTorch's own generator too."""
    with torch.random.fork_rng():
        yield


def operation_by_operation() -> AbstractContextManager[None]:
    """Compute as the program says: PyTorch does, where nothing is compiled."""
    return nullcontext()
