"""Putting back what a PyTorch computation writes into tensors that were there before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import TensorWeakRef

from frostline.backends.torch import functions
from frostline.backends.torch.values import tensors_in


class Originals:
    """Tensors as they were before they were written to.

    Keras variables do not need it: they are read through a scope of their own. The buffers of a PyTorch
    module, such as the moving statistics of its batch normalization, do.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy what these tensors hold, unless that was done before."""
        for tensor in tensors:
            if tensor.grad_fn is None and id(tensor) not in self._kept and not tensor.is_meta:
                self._kept[id(tensor)] = tensor, tensor.detach().clone()

    def restore(self) -> None:
        """Put back what the tensors held."""
        with torch.no_grad():
            for tensor, value in self._kept.values():
                tensor.copy_(value)
        self._kept.clear()


class Restoring(TorchFunctionMode):
    """Notes what runs inside it writes to, and keeps how that was."""

    def __init__(self, originals: Originals) -> None:
        super().__init__()
        self._originals = originals
        self._made: dict[int, TensorWeakRef] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if functions.may_write(functions.called(func)):
            self._originals.keep(t for t in tensors_in((args, kwargs)) if not self._is_made(t))
        result = func(*args, **kwargs)
        self._made.update((id(t), TensorWeakRef(t)) for t in tensors_in((result,)) if t.grad_fn is None)
        return result

    def _is_made(self, tensor: torch.Tensor) -> bool:
        made = self._made.get(id(tensor))
        return made is not None and made() is tensor
