"""What PyTorch tells of tensors and of its record only under private names."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch._C import _DisableTorchDispatch, _functorch, _len_torch_dispatch_stack

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_NOTHING = nullcontext()


def writes_to(tensor: torch.Tensor) -> int:
    """Return how often the memory of a tensor was written to, through whichever tensor."""
    return 0 if tensor.is_inference() else int(tensor._version)


def base_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the tensor that this one is a view of, None where it is none."""
    return tensor._base


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


def random_gradients(node: Any) -> list[torch.Tensor]:
    """Return random gradients, no number of them zero, for the outputs of a node of the record."""
    made = []
    for output in node._input_metadata:
        number = torch.rand(tuple(output.shape), dtype=output.dtype, device=output.device)
        made.append((number + 0.5).requires_grad_())
    return made


def rounds_quotient(node: Any) -> bool:
    """Whether the node of a division rounds what it gives."""
    return getattr(node, "_saved_rounding_mode", None) is not None


def is_of_complex(node: Any) -> bool:
    """Whether a node that keeps its operand had a complex one."""
    return bool(node._saved_self.is_complex())
