"""What PyTorch tells of tensors and of its record only under private names.

Tried on PyTorch 2.13; `tests/each_backend/backends/test_private_names.py` fails when a name goes away.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch

from frostline.backends.private import missing, module, private

_C = module("torch._C")
_functorch = private(_C, "_functorch")
_len_torch_dispatch_stack = private(_C, "_len_torch_dispatch_stack")
_DisableTorchDispatch = private(_C, "_DisableTorchDispatch")

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_NOTHING = nullcontext()


def writes_to(tensor: torch.Tensor) -> int:
    """Return how often the memory of a tensor was written to, through whichever tensor."""
    return 0 if tensor.is_inference() else int(private(tensor, "_version"))


def base_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the tensor that this one is a view of, None where it is none."""
    base: torch.Tensor | None = private(tensor, "_base")
    return base


def beneath_skipped(tensors: Iterable[torch.Tensor]) -> AbstractContextManager[Any]:
    """Let what runs inside pass by the one mode beneath autograd, where nothing else waits there.

    Whatever runs beneath autograd costs some ten microseconds for each operation, and nothing is noted there
    while a call from Python is being carried out.
    """
    plain = all(type(tensor) in _PLAIN for tensor in tensors)
    return _DisableTorchDispatch() if plain and _len_torch_dispatch_stack() == 1 else _NOTHING


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor inside the wrappings of `torch.func` and `vmap`, itself where there are none."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor


def leaf_of(node: Any) -> torch.Tensor | None:
    """Return the leaf tensor that a node of the record collects the gradient of, None for other nodes."""
    leaf: torch.Tensor | None = getattr(node, "variable", None)
    return leaf


def is_custom(node: Any) -> bool:
    """Whether a node comes from a `torch.autograd.Function` written in Python."""
    return hasattr(node, "needs_input_grad")


@cache
def require_record_names() -> None:
    """Raise where PyTorch's record lacks a name whose absence would otherwise read as an answer.

    Raises:
        UnsupportedBackendError: With the name.
    """
    with torch.enable_grad():
        number = torch.ones((), requires_grad=True)
        halved = torch.div(number, 2.0, rounding_mode="floor").grad_fn
        given = _Same.apply(number).grad_fn  # type: ignore[no-untyped-call]
    private(halved, "_saved_rounding_mode")
    private(private(halved, "next_functions")[0][0], "variable")
    if not is_custom(given):
        raise missing("the node of a torch.autograd.Function has no attribute 'needs_input_grad'")


class _Same(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, number: Any) -> Any:
        return number.clone()

    @staticmethod
    def backward(_: Any, gradient: Any) -> Any:
        return gradient


def random_gradients(node: Any) -> list[torch.Tensor]:
    """Return random gradients, no number of them zero, for the outputs of a node of the record."""
    made = []
    for output in private(node, "_input_metadata"):
        number = torch.rand(tuple(output.shape), dtype=output.dtype, device=output.device)
        made.append((number + 0.5).requires_grad_())
    return made


def rounds_quotient(node: Any) -> bool:
    """Whether the node of a division rounds what it gives."""
    return getattr(node, "_saved_rounding_mode", None) is not None


def is_of_complex(node: Any) -> bool:
    """Whether a node that keeps its operand had a complex one."""
    return bool(private(node, "_saved_self").is_complex())
