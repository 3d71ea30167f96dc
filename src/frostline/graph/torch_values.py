"""Which value of the graph a PyTorch tensor holds: by its place in PyTorch's record, as an object, or by its memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch._C import _functorch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import TensorWeakRef

from frostline.graph.torch_autograd import Slot, slot_of


@dataclass(frozen=True, slots=True)
class Use:
    """A tensor as it was when an operation took it: its place in PyTorch's record, and the writes to it so far."""

    tensor: torch.Tensor
    slot: Slot | None
    version: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Use:
        """Note a tensor as it is now."""
        return cls(tensor, slot_of(tensor), writes_to(tensor))

    def is_outdated(self, look_at_record: bool) -> bool:
        """Whether the tensor was written to since, or taken to another place in PyTorch's record."""
        if writes_to(self.tensor) != self.version:
            return True
        return look_at_record and isinstance(self.slot, tuple) and slot_of(self.tensor) != self.slot


@dataclass(frozen=True, slots=True)
class _Seen:
    tensor: TensorWeakRef
    value: int
    version: int


class Values:
    """The values of the graph by tensor. Holds no tensor that the computation itself would let go.

    Attributes:
        by_slot: Values by their place in PyTorch's record.
        made_by: A value that each node of PyTorch's record has to do with; its keys are the known nodes.
    """

    def __init__(self) -> None:
        self.by_slot: dict[Slot, int] = {}
        self.made_by: dict[Any, int] = {}
        self._objects: dict[int, _Seen] = {}
        self._memory: dict[int, tuple[StorageWeakRef, int]] = {}
        self._held: list[torch.Tensor] = []

    def learn(self, tensor: torch.Tensor, value: int) -> None:
        """Note that a tensor now holds this value."""
        self._objects[id(tensor)] = _Seen(TensorWeakRef(tensor), value, writes_to(tensor))
        memory = _memory_of(tensor)
        if memory is not None:
            self._memory[memory.data_ptr()] = StorageWeakRef(memory), value

    def learn_slot(self, slot: Slot | None, tensor: torch.Tensor, value: int) -> None:
        """Note that a place in PyTorch's record holds this value."""
        if slot is None:
            return
        self.by_slot[slot] = value
        if isinstance(slot, tuple):
            self.made_by.setdefault(slot[0], value)
        else:
            self._held.append(tensor)  # its `id` must stay its own

    def of_object(self, use: Use) -> int | None:
        """Return the value of this very tensor, None where it is new."""
        seen = self._objects.get(id(use.tensor))
        return seen.value if seen is not None and seen.tensor() is use.tensor else None

    def is_written_since(self, use: Use) -> bool:
        """Whether a known tensor was written to through another one that shares its memory."""
        return self._objects[id(use.tensor)].version != use.version

    def of_memory(self, tensor: torch.Tensor) -> int | None:
        """Return the value that was last put into the memory of a tensor."""
        memory = _memory_of(tensor)
        block, value = self._memory.get(memory.data_ptr(), (None, None)) if memory is not None else (None, None)
        return None if block is None or block.expired() else value


def writes_to(tensor: torch.Tensor) -> int:
    """Return how often the memory of a tensor was written to."""
    return 0 if tensor.is_inference() else tensor._version


def tensors_in(nest: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a nest of lists, tuples and dictionaries, those of `vmap` without their wrapping."""
    if isinstance(nest, torch.Tensor):
        while _functorch.is_functorch_wrapped_tensor(nest):
            nest = _functorch.get_unwrapped(nest)
        yield nest
    elif isinstance(nest, tuple | list):
        for part in nest:
            yield from tensors_in(part)
    elif isinstance(nest, dict):
        yield from tensors_in(list(nest.values()))


def is_differentiable(tensor: torch.Tensor) -> bool:
    """Whether there can be a derivative by a tensor."""
    return tensor.is_floating_point() or tensor.is_complex()


def _memory_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    try:
        memory = tensor.untyped_storage()
        return memory if memory.data_ptr() else None
    except (NotImplementedError, RuntimeError):  # sparse and other tensors without one block of memory
        return None
