"""What a Keras layer holds on PyTorch beside its variables: buffers of modules, and random generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.parametrize import ParametrizationList

from frostline.backends.held_state import (
    NOTHING,
    HeldState,
    Holdings,
    InnerModule,
    class_names_of,
    joined,
)


class Buffer(HeldState):
    """A buffer of a PyTorch module, also where the module puts another tensor in its place."""

    @property
    def value(self) -> torch.Tensor:
        """The tensor; complex numbers as pairs."""
        tensor = self._tensor.detach()
        return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor

    @property
    def _tensor(self) -> torch.Tensor:
        return self.holder.get_buffer(self.name)  # type: ignore[no-any-return]

    @property
    def key(self) -> int:
        """The tensor's id."""
        return id(self._tensor)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        """Its dtype."""
        return str(self.value.dtype).removeprefix("torch.")

    def read_array(self) -> npt.NDArray[Any]:
        """Return the values."""
        value = self.value
        if value.dtype in _WITHOUT_NUMPY:
            array: npt.NDArray[Any] = keras.ops.convert_to_numpy(value)
            return array
        return value.cpu().numpy()

    def assign(self, value: Any) -> None:
        """Copy a value into the tensor, whoever else holds it."""
        with torch.no_grad():
            self.value.copy_(_tensor_of(value))


class PlainTensor(Buffer):
    """A tensor that a module keeps as an attribute, neither a parameter nor a buffer: memory of its own.

    Nobody can tell whether it counts (a running mean) or is scratch (the last output). So it is kept and put
    back as any state is, and nothing is claimed of whether it moves.
    """

    may_change_shape = True

    def __init__(self, holder: Any, name: str) -> None:
        super().__init__(holder, name, "state")

    @property
    def _tensor(self) -> torch.Tensor:
        # Empty where the module has put something else in its place.
        value = vars(self.holder).get(self.name)
        return value if _is_plain(value) and not _unreadable(value) else torch.empty(0)

    def assign(self, value: Any) -> None:
        """Copy a value into the tensor, or put a new one in its place if its shape is another."""
        new, now = _tensor_of(value), self._tensor
        if tuple(new.shape) == self.shape:
            super().assign(new)
            return
        new = torch.view_as_complex(new) if now.is_complex() else new
        setattr(self.holder, self.name, new.to(now.device, now.dtype, copy=True))


class GeneratorState(HeldState):
    """The state of a `torch.Generator` that a layer or a module in it holds."""

    def __init__(self, holder: Any, name: str) -> None:
        super().__init__(holder, name, "seed")

    @property
    def value(self) -> torch.Tensor:
        """The state, as bytes."""
        return self.holder.get_state()  # type: ignore[no-any-return]

    def read_array(self) -> npt.NDArray[Any]:
        """Return the bytes."""
        return self.value.numpy()

    def assign(self, value: Any) -> None:
        """Put a state back."""
        self.holder.set_state(_tensor_of(value).cpu().to(torch.uint8))


_WITHOUT_NUMPY = (torch.bfloat16,)
_FOUR_BITS_AND_FLOAT8 = tuple(
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    if hasattr(torch, name)
)


def of_layer(layer: Any) -> Holdings:
    """Return what a layer holds."""
    modules = list(_modules(layer))
    everything = [("", layer), *((module.path, module.handle) for module in modules)]
    states = [(joined(path, name), one) for path, holder in everything for name, one in _memory(holder)]
    refused: list[str] = []
    for path, holder in everything:
        for name, tensor in holder.named_buffers(recurse=False, remove_duplicate=False):
            if why := _unreadable(tensor):
                refused.append(f"{joined(path, name)} ({why})")
            else:
                states.append((joined(path, name), Buffer(holder, name)))
    refused += [f"{m.path or 'the module'} ({_EXTRA})" for m in modules if _has_extra_state(m.handle)]
    if not (modules or states or refused):
        return NOTHING
    names = _names(modules)
    trainable = frozenset(
        id(p) for module in modules for p in module.handle.parameters(recurse=False) if p.is_floating_point()
    )
    return Holdings(tuple(states), names, tuple(modules), tuple(refused), trainable)


def _memory(holder: Any) -> Iterator[tuple[str, HeldState]]:
    """Yield the generators and the plain tensors among the attributes of a layer or a module."""
    for name, value in vars(holder).items():
        if _is_generator(value):
            yield name, GeneratorState(value, name)
        elif _is_plain(value) and not _unreadable(value):
            yield name, PlainTensor(holder, name)


def _is_plain(value: Any) -> bool:
    """Whether this is a tensor that no operation under autograd made: an output kept for a look is none."""
    return type(value) is torch.Tensor and value.grad_fn is None and not value.requires_grad


def keep(layer: Any) -> Callable[[], None]:
    """Return a function that gives a layer and its modules back what they hold now.

    That is the tensors and what is in them, generators, and attributes such as a counter or a tensor that is
    made at the first call.
    """
    modules = [module.handle for module in _modules(layer)]
    everything = [layer, *modules]
    attributes = [(vars(one), dict(vars(one))) for one in modules]
    attributes.append((vars(layer), {n: v for n, v in vars(layer).items() if _is_memory(n, v)}))
    buffers = [(one, dict(one.named_buffers(recurse=False))) for one in everything]
    generators = [
        (one, one.get_state()) for held in everything for one in vars(held).values() if _is_generator(one)
    ]
    tensors = [one for _, held in (*attributes, *buffers) for one in held.values() if _is_written(one)]
    values = [(tensor, tensor.detach().clone()) for tensor in {id(one): one for one in tensors}.values()]

    def put_back() -> None:
        for now, before in attributes:
            now.update(before)
        for holder, before in buffers:
            for name, tensor in before.items():
                if holder.get_buffer(name) is not tensor:
                    setattr(holder, name, tensor)
        for now, before in attributes[:-1]:
            for added in now.keys() - before.keys():
                del now[added]
        for generator, state in generators:
            generator.set_state(state)
        _written_back(values)

    return put_back


def _written_back(values: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    with torch.no_grad():
        for tensor, value in values:
            # One that is spread over fewer numbers than it shows, as a constant may be, takes no writing.
            if not torch.equal(tensor, value):
                tensor.copy_(value)


def _is_memory(name: str, value: Any) -> bool:
    """Whether an attribute of a Keras layer may be memory of the user's: Keras changes its own."""
    return name != "built" and not name.startswith("_") and isinstance(value, _NUMBERS | torch.Tensor)


_NUMBERS = bool | int | float | None


def _is_generator(value: Any) -> bool:
    return type(value) is torch.Generator  # its `isinstance` takes as long as all else here


def _is_written(value: Any) -> bool:
    """Whether this is a tensor that code may write into."""
    return isinstance(value, torch.Tensor) and not value.requires_grad and not _unreadable(value)


_EXTRA = "a module with get_extra_state, whose state is not only tensors"


def _modules(layer: Any) -> Iterator[InnerModule]:
    """Yield the PyTorch modules in a layer that are not Keras layers, from the outermost in."""
    wrapped = getattr(layer, "module", None) if isinstance(layer, keras.layers.TorchModuleWrapper) else None
    for name, child in layer.named_children():
        if name != "_torch_params" and not isinstance(child, keras.Layer):
            yield from _from(child, "" if child is wrapped else name, None)


def _from(module: Any, path: str, follows: str | None) -> Iterator[InnerModule]:
    yield InnerModule(path, class_names_of(type(module), (torch.nn.Module,)), follows, module)
    # What a parametrization computes with belongs to the weight that it makes.
    inside = path if isinstance(module, ParametrizationList) else follows
    for name, child in module.named_children():
        if not isinstance(child, keras.Layer):
            yield from _from(child, joined(path, name), inside)


def _names(modules: Sequence[InnerModule]) -> dict[int, tuple[str, ...]]:
    """Return the names of parameters by the tensor: Keras calls them `variable_8`."""
    found: dict[int, list[str]] = {}
    for module in modules:
        for name, parameter in module.handle.named_parameters(recurse=False, remove_duplicate=False):
            found.setdefault(id(parameter), []).append(joined(module.path, name))
    return {key: tuple(names) for key, names in found.items()}


def _unreadable(tensor: torch.Tensor) -> str:
    """Say why the numbers of a tensor cannot be read and written; empty where they can."""
    if tensor.is_meta or torch.nn.parameter.is_lazy(tensor):
        return "a buffer without values"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "a sparse or nested buffer"
    if tensor.is_quantized or tensor.dtype in _FOUR_BITS_AND_FLOAT8:
        return f"a buffer of dtype {str(tensor.dtype).removeprefix('torch.')}"
    return ""


def _has_extra_state(module: Any) -> bool:
    return type(module).get_extra_state is not torch.nn.Module.get_extra_state


def _tensor_of(value: Any) -> torch.Tensor:
    if isinstance(value, np.ndarray) and value.dtype.name == "bfloat16":
        return torch.from_numpy(value.astype(np.float32))
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.array(value))
