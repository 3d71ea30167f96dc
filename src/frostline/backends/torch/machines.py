"""Models that are wrapped for several PyTorch processes, or sharded over them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import torch
from torch import distributed
from torch.nn.parallel import DataParallel, DistributedDataParallel

from frostline._keras.layers import sublayers
from frostline._keras.variables import has_value
from frostline.backends.protocols import Spread

_ALL = frozenset({"fit", "schedule", "apply", "unfreeze", "verify", "fingerprint"})
_BY_ITSELF = frozenset({"fit", "schedule", "unfreeze", "verify"})
_REPLICATED = (DistributedDataParallel, DataParallel)

_COMPARE = "compare frostline.fingerprint(model).combined of all ranks"


def spread(model: Any) -> Iterable[Spread]:
    """Return how a model is wrapped or sharded."""
    modules = list(_modules(model))
    if sharded := next(filter(_is_sharded, [*modules, *_tensors(model)]), None):
        yield Spread(
            _ALL,
            "is sharded over processes, by FSDP or as DTensors",
            f"{type(sharded).__name__} in a process group",
            "apply the plan and take fingerprints before the model is sharded; train it by a loop of your "
            "own, and verify the gathered, saved model in one process",
        )
    wrapper = next((m for m in modules if isinstance(m, _REPLICATED)), None)
    if wrapper is not None:
        place = "is wrapped in" if wrapper is model else "holds a part that is wrapped in"
        yield Spread(
            _ALL,
            f"{place} {type(wrapper).__name__}",
            f"an object of type {type(wrapper).__name__}",
            "give what is in it, .module, and no wrapper around it; wrap it after the plan is applied, for "
            f"a loop of your own, and {_COMPARE}",
        )
    elif around := _wrapper_around(model):
        yield Spread(
            _BY_ITSELF,
            f"is inside a {type(around).__name__}, which knows what trained when it was made",
            f"a {type(around).__name__} around it, in a process group",
            "delete the wrapper first, apply the plan, then make a new one for a loop of your own; to check "
            f"the ranks, {_COMPARE}",
        )


def _modules(model: Any) -> Iterator[torch.nn.Module]:
    """Yield the modules of a model. PyTorch does not know of every layer that Keras tracks."""
    if isinstance(model, torch.nn.Module):
        yield from model.modules()
    if isinstance(model, keras.Layer):
        for layer in sublayers(model):
            yield from _modules(layer)


def _is_sharded(part: Any) -> bool:
    return isinstance(part, tuple(_sharding_classes()))


def _sharding_classes() -> Iterator[type]:
    """Yield the classes of sharded modules and tensors, where anybody has loaded them: it takes seconds."""
    for module, names in (
        ("torch.distributed.fsdp", ("FSDPModule", "FullyShardedDataParallel")),
        ("torch.distributed.tensor", ("DTensor",)),
    ):
        for name in names:
            found = getattr(sys.modules.get(module), name, None)
            if isinstance(found, type):
                yield found


def _tensors(model: Any) -> list[torch.Tensor]:
    tensors = [v.value for v in getattr(model, "variables", ()) if has_value(v)]
    own = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return [*tensors, *own]


def _wrapper_around(model: Any) -> Any:
    """Return a wrapper that some weight of the model is in. The model knows nothing of it."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    own = {id(tensor) for tensor in _tensors(model)}
    if next(_living_wrappers(own), None) is None:
        return None
    gc.collect()  # one that was deleted lives on in a circle of references
    return next(_living_wrappers(own), None)


def _living_wrappers(own: set[int]) -> Iterator[Any]:
    for one in gc.get_objects():
        if issubclass(type(one), _REPLICATED) and not own.isdisjoint(map(id, one.parameters())):
            yield one
