"""Running a training step that somebody wrote by hand without training, on PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from frostline._keras.calls import uncast
from frostline._keras.methods import patched
from frostline.backends.torch.values import is_differentiable

OBEYS_FREEZING = True
"""Its step asks the flags each time: what was frozen since stays as it is."""

CARRIES_LISTED_ONLY = False
"""Its step assigns to whatever the call assigns to."""


def is_put_off(variable: Any) -> bool:
    """Whether PyTorch's own flag keeps gradients from a variable, whatever Keras's flag says."""
    with uncast():
        tensor = variable.value
    return is_differentiable(tensor) and not tensor.requires_grad


def put_off(variable: Any) -> None:
    """Set that flag so; Keras's own stays."""
    with uncast():
        variable.value.requires_grad_(False)


@contextmanager
def intercept_gradients(record: Callable[[Any], None]) -> Iterator[None]:
    """Let `backward` and `torch.autograd.grad` record the loss and give zeros, without differentiating.

    PyTorch's own optimizers do nothing meanwhile.
    """

    def backward(loss: Any, *_: Any, **__: Any) -> None:
        record(loss)

    def grad(outputs: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        for one in outputs if isinstance(outputs, list | tuple) else (outputs,):
            record(one)
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
