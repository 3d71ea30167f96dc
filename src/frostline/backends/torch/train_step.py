"""Looking at computations without carrying them through, on PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from frostline._keras.methods import patched


@contextmanager
def gradients_noted(note: Callable[[Any], None]) -> Iterator[None]:
    """Let `backward` and `torch.autograd.grad` note the loss and give zeros, without differentiating.

    PyTorch's own optimizers do nothing meanwhile.
    """

    def backward(loss: Any, *_: Any, **__: Any) -> None:
        note(loss)

    def grad(outputs: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        for one in outputs if isinstance(outputs, list | tuple) else (outputs,):
            note(one)
        every = inputs if isinstance(inputs, list | tuple) else (inputs,)
        return tuple(torch.zeros_like(one) for one in every)

    def step(optimizer: Any, *_: Any, **__: Any) -> None:
        """Do nothing."""

    with (
        patched(torch.Tensor, backward=backward),
        patched(torch.autograd, grad=grad),
        patched(torch.optim.Optimizer, step=step),
    ):
        yield


def arguments(model: Any, data: Any) -> tuple[Any, ...]:
    """Return what `train_step` takes: the data."""
    return (data,)


def wide_floats() -> AbstractContextManager[None]:
    """Compute in float64: PyTorch always can."""
    return nullcontext()


@contextmanager
def same_randomness() -> Iterator[None]:
    """Draw the same numbers every time, from PyTorch's own generator too."""
    with torch.random.fork_rng():
        yield
