"""Which value of the graph a PyTorch tensor holds: by PyTorch's record, as an object, or by its memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import TensorWeakRef

from frostline.backends.torch.autograd import AutogradKey, autograd_key
from frostline.backends.torch.internals import unwrapped, writes_to

_SEQUENCES = (tuple, list)


@dataclass(frozen=True, slots=True)
class Use:
    """A tensor as it was when an operation took it: its place in PyTorch's record, and the writes to it."""

    tensor: torch.Tensor
    key: AutogradKey | None
    version: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Use:
        """Note a tensor as it is now."""
        return cls(tensor, autograd_key(tensor), writes_to(tensor))

    def is_written(self) -> bool:
        """Whether the memory of the tensor was written to since."""
        return writes_to(self.tensor) != self.version

    def is_moved(self) -> bool:
        """Whether it had a place in PyTorch's record that it has no longer, as after `detach_`."""
        return isinstance(self.key, tuple) and autograd_key(self.tensor) != self.key


@dataclass(frozen=True, slots=True)
class _KnownTensor:
    tensor: TensorWeakRef
    value: int
    version: int
    memory: int
    block: StorageWeakRef | None

    def shares(self, memory: int) -> bool:
        """Whether this is the memory of the tensor, or was when it went and is still in use."""
        if self.memory != memory:
            return False
        return self.tensor() is not None or (self.block is not None and not self.block.expired())  # type: ignore[no-untyped-call]


class TensorValues:
    """The values of the graph by tensor. Keeps no tensor alive that the computation itself would let go.

    Attributes:
        by_key: Values by their place in PyTorch's record.
        made_by: A value that each node of PyTorch's record has to do with; its keys are the known nodes.
    """

    def __init__(self) -> None:
        self.by_key: dict[AutogradKey, int] = {}
        self.made_by: dict[Any, int] = {}
        self._known: dict[int, _KnownTensor] = {}
        self._kept_alive: list[torch.Tensor] = []

    def learn(self, tensor: torch.Tensor, value: int) -> None:
        """Note that a tensor now holds this value."""
        self._known.pop(id(tensor), None)  # the latest stands last
        memory = _memory_of(tensor)
        # What requires a gradient is found by PyTorch's record, even after the tensor has gone.
        block = None
        if memory is not None and not tensor.requires_grad:
            block = StorageWeakRef(memory)  # type: ignore[no-untyped-call]
        place = memory.data_ptr() if memory is not None else 0
        self._known[id(tensor)] = _KnownTensor(TensorWeakRef(tensor), value, writes_to(tensor), place, block)

    def learn_key(self, key: AutogradKey, tensor: torch.Tensor, value: int) -> None:
        """Note that a place in PyTorch's record holds this value."""
        self.by_key[key] = value
        if isinstance(key, tuple):
            self.made_by.setdefault(key[0], value)
        else:
            self._kept_alive.append(tensor)  # its `id` must stay its own

    def forget(self) -> None:
        """Let go of PyTorch's record, and with it of all that is kept for a backward pass."""
        for table in (self.by_key, self.made_by, self._known):
            table.clear()
        self._kept_alive.clear()

    def of_object(self, tensor: torch.Tensor) -> int | None:
        """Return the value of this very tensor, None where it is new."""
        seen = self._known.get(id(tensor))
        return seen.value if seen is not None and seen.tensor() is tensor else None

    def is_written_since(self, use: Use) -> bool:
        """Whether a known tensor was written to through another one that shares its memory."""
        return self._known[id(use.tensor)].version != use.version

    def of_memory(self, tensor: torch.Tensor) -> int | None:
        """Return the value of the tensor learnt last among those that share the memory of this one."""
        memory = _memory_of(tensor)
        place = memory.data_ptr() if memory is not None else 0
        if not place:
            return None
        return next((seen.value for seen in reversed(self._known.values()) if seen.shares(place)), None)


def tensors_in(nest: Iterable[Any]) -> list[torch.Tensor]:
    """Return the tensors in a nest of lists, tuples and dictionaries, those of `vmap` unwrapped."""
    found: list[torch.Tensor] = []
    _collect(nest, found)
    return found


def _collect(nest: Iterable[Any], found: list[torch.Tensor]) -> None:
    for part in nest:
        if isinstance(part, torch.Tensor):
            found.append(unwrapped(part))
        elif isinstance(part, _SEQUENCES):
            _collect(part, found)
        elif isinstance(part, dict) and part:
            _collect(part.values(), found)


def is_differentiable(tensor: torch.Tensor) -> bool:
    """Whether there can be a derivative by a tensor."""
    return tensor.is_floating_point() or tensor.is_complex()


def _memory_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse and other tensors without one block of memory
        return None
