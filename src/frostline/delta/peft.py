"""LoRA adapters in the files of Hugging Face's PEFT, out and in.

A folder with `adapter_config.json` and `adapter_model.safetensors`. Nothing of PEFT or PyTorch is imported.

Source:
    PEFT's page on its checkpoint format, https://huggingface.co/docs/peft/developer_guides/checkpoint.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline._keras.variables import to_numpy
from frostline.delta import peft_file
from frostline.delta.contents import Delta
from frostline.delta.finite import require_finite_parts
from frostline.delta.low_rank import Matrix, matrix_of, matrix_of_shape
from frostline.errors import DeltaError, listed, near
from frostline.files.tensor_file import Array
from frostline.model.inventory import Inventory, Weight, inventory
from frostline.parametrization.adapters import LowRank
from frostline.parametrization.install import Parametrized, parametrize

_PREFIX = "base_model.model."

Names = Mapping[str, str] | Callable[[str], str | None] | None
"""The module of PyTorch for each address of Keras: a mapping, or a function."""


def export_peft(
    source: Any, folder: str | os.PathLike[str], *, names: Names = None, base_model: str | None = None
) -> tuple[str, ...]:
    """Write the `LowRank` adapters of a model, or of a delta, as PEFT does.

    `PeftModel.from_pretrained(torch_model, folder)` puts them on a PyTorch model of the same shape. Kernels
    of MultiHeadAttention become those of one Linear for all heads; since their low rank is that of each head,
    the rank of the adapter is the rank times the number of heads.

    Args:
        source: A model with `LowRank` on weights of Dense, EinsumDense or Embedding layers, or a `Delta` of
            one whose adapted weights have two axes.
        folder: Where the two files go; it is made if need be.
        names: For each address of an adapted weight the name of the module in the PyTorch model, such as
            `{"block_0/query/kernel": "encoder.layer.0.attention.self.query"}`, or a function that returns it.
            By default the address without the weight's own name, with dots. Addresses of weights that are
            not adapted may stand in it too.
        base_model: The name of the base model, as `adapter_config.json` has it.

    Returns:
        The names of the modules.

    Raises:
        DeltaError: There is no adapter of low rank, a delta changes other things too, an adapted weight is
            not a matrix, two have one name, `names` has an address that the model does not have, or the files
            cannot be written.

    Example:
        >>> import keras, tempfile
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> adapted = parametrize(model, "head/kernel", LowRank(rank=1))
        >>> export_peft(model, tempfile.mkdtemp())
        ('head',)
    """
    known = source.base if isinstance(source, Delta) else inventory(source).by_address
    _require_known(names, known, source.model if isinstance(source, Delta) else source.name)
    adapters = list(_of_delta(source) if isinstance(source, Delta) else _of_model(source))
    if not adapters:
        raise DeltaError(
            "there is no low-rank adapter to export",
            expected="a weight with fl.parametrize(model, address, fl.LowRank(rank=8))",
        )
    named = source.model if isinstance(source, Delta) else source.name
    require_finite_parts(named, ((one.address, part) for one in adapters for part in (one.a, one.b)))
    modules = [_module(names, adapter.address) or _by_default(adapter.address) for adapter in adapters]
    doubled = [name for name, n in Counter(modules).items() if n > 1]
    if doubled:
        raise DeltaError("two adapted weights have the same module", received=listed(doubled))
    tensors: dict[str, Array] = {}
    ranks, alphas = {}, {}
    for adapter, module in zip(adapters, modules, strict=True):
        a, b = adapter.matrix.to_torch(adapter.a, adapter.b)
        suffixes = _suffixes(adapter.matrix)
        tensors |= {
            f"{_PREFIX}{module}.{suffix}": part for suffix, part in zip(suffixes, (a, b), strict=True)
        }
        ranks[module], alphas[module] = a.shape[0], adapter.scale * a.shape[0]
    peft_file.write(Path(folder), tensors, ranks, alphas, base_model)
    return tuple(modules)


def import_peft(
    model: Any, folder: str | os.PathLike[str], *, names: Names = None
) -> tuple[Parametrized, ...]:
    """Put a LoRA adapter that PEFT wrote on a Keras model of the same shape.

    Each adapted weight gets a `LowRank` parametrization with the adapter's factors: it can be trained on,
    saved as a delta, or merged with `fl.merge`. On kernels whose outputs have several axes
    (MultiHeadAttention) the rank is another, and the update the same but for rounding.

    Args:
        model: A built Keras model with plain weights.
        folder: With `adapter_config.json` and `adapter_model.safetensors`.
        names: As in `export_peft`, for all weights of the model that may be adapted.

    Returns:
        One `Parametrized` for each adapted weight.

    Raises:
        DeltaError: The folder holds no LoRA adapter that can be read, it does not fit the model, or `names`
            has an address that the model does not have. The model is as before.
        ParametrizationError: A weight is parametrized already.

    Example:
        >>> import keras, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> adapted = parametrize(model, "head/kernel", LowRank(rank=1))
        >>> modules = export_peft(model, folder)
        >>> adapted.remove()
        >>> print(*import_peft(model, folder))
        head/kernel: rank 1 (5 elements, path: general)
    """
    place = Path(folder)
    config = peft_file.read_config(place)
    tensors = peft_file.read_tensors(place, config)
    model_inventory = inventory(model)
    _require_known(names, model_inventory.by_address, model_inventory.model_name)
    found = list(_fitting(model_inventory, names, config, tensors, place))
    done: list[Parametrized] = []
    try:
        for weight, how, a, b in found:
            done.append(parametrize(model, weight.address, how))
            for name, value in (("lora_a", a), ("lora_b", b)):
                weight.combination.parts[name].assign(value)
    except BaseException:
        for one in reversed(done):
            one.remove(merge=False)
        raise
    return tuple(done)


@dataclass(frozen=True, slots=True)
class _Adapter:
    address: str
    matrix: Matrix
    a: Array
    b: Array
    scale: float


def _of_model(model: Any) -> Iterator[_Adapter]:
    model_inventory = inventory(model)
    for weight in model_inventory:
        made_of = weight.combination
        if made_of is not None and type(made_of.how) is LowRank:
            a, b = (to_numpy(made_of.parts[name]) for name in ("lora_a", "lora_b"))
            yield _Adapter(weight.address, matrix_of(weight, model_inventory), a, b, made_of.how.scale)


def _of_delta(delta: Delta) -> Iterator[_Adapter]:
    other = [a for a, e in delta.entries.items() if e.how is None or e.how["kind"] != "low_rank"]
    if other:
        raise DeltaError(
            "the delta changes more than low-rank adapters, which PEFT's layout cannot hold",
            received=listed(other),
            remedy="export the model itself, which writes only the adapters",
        )
    for address, entry in delta.entries.items():
        assert entry.how is not None
        how = LowRank(entry.how["rank"], entry.how["alpha"], entry.how["seed"])
        matrix = matrix_of_shape(address, entry.shape)
        yield _Adapter(address, matrix, entry.values["lora_a"], entry.values["lora_b"], how.scale)


def _fitting(
    model_inventory: Inventory,
    names: Names,
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    place: Path,
) -> Iterator[tuple[Weight, LowRank, Array, Array]]:
    """Yield what goes to each adapted weight; every tensor has its weight, or nothing is done."""
    left = dict(tensors)
    for weight in model_inventory.of_role("weight"):
        if len(weight.shape) < 2:
            continue
        module = _module(names, weight.address)
        for embedding in (False, True):
            keys = [f"{_PREFIX}{module}.{suffix}" for suffix in _suffixes(Matrix((), (), embedding))]
            if module is not None and all(key in left for key in keys):
                a, b = (left.pop(key) for key in keys)
                what = f"the adapter of {str(module)!r} in {str(place)!r}"
                _require_fit(what, weight, matrix_of(weight, model_inventory), a, b)
                _require_alike(what, peft_file.rank_of(config, str(module)), a, b)
                yield _fitted(weight, matrix_of(weight, model_inventory), str(module), config, a, b)
    if left:
        raise DeltaError(
            f"the adapter in {str(place)!r} has tensors for which the model has no weight",
            received=listed(sorted(left), most=3),
            expected="a weight of the model for every module of the adapter",
            remedy="give names=, a mapping from the addresses of the model to the modules of the adapter",
        )


def _fitted(
    weight: Weight, matrix: Matrix, module: str, config: Mapping[str, Any], a: Array, b: Array
) -> tuple[Weight, LowRank, Array, Array]:
    scale = peft_file.scale_of(config, module, a.shape[0])
    own_a, own_b = matrix.from_torch(a, b)
    own_rank = own_b.shape[0]
    how = LowRank(own_rank, None if scale == 1 else scale * own_rank)
    how.check(weight.shape, weight.dtype)
    return weight, how, np.ascontiguousarray(own_a), np.ascontiguousarray(own_b)


def _require_fit(what: str, weight: Weight, matrix: Matrix, a: Array, b: Array) -> None:
    shapes = (*a.shape[1:], *b.shape[:1])
    if a.ndim != 2 or b.ndim != 2 or shapes != matrix.torch_shape or b.shape[1] != a.shape[0]:
        raise DeltaError(
            f"{what} does not fit {weight.address!r}",
            received=f"A of shape {a.shape}, B of shape {b.shape}",
            expected=f"[rank, {matrix.torch_shape[0]}] and [{matrix.torch_shape[1]}, rank]",
        )


def _require_alike(what: str, rank: Any, a: Array, b: Array) -> None:
    """Check both factors against one another and against the config: PEFT's files have no digest."""
    if a.dtype != b.dtype or a.shape[0] != rank:
        raise DeltaError(
            f"{what} is not the one that its config describes",
            received=f"A of rank {a.shape[0]} and dtype {a.dtype.name}, B of dtype {b.dtype.name}",
            expected=f"rank {rank}, as {peft_file.CONFIG} says, and one dtype for both",
            remedy="copy both files again, or export the adapter again",
        )


def _require_known(names: Names, known: Mapping[str, Any], model_name: str) -> None:
    """Refuse a mapping with addresses that are not there: it would be another name than was meant."""
    unknown = [] if names is None or callable(names) else [a for a in names if a not in known]
    if unknown:
        close = near(unknown[0], known)
        raise DeltaError(
            f"names= has addresses that the model {model_name!r} does not have",
            received=listed(repr(address) for address in unknown),
            expected="addresses of its weights, as fl.inventory(model) lists them",
            remedy=f"did you mean {listed(repr(address) for address in close)}?" if close else None,
        )


def _module(names: Names, address: str) -> str | None:
    if names is None:
        return _by_default(address)
    return names(address) if callable(names) else names.get(address)


def _by_default(address: str) -> str:
    return address.rpartition("/")[0].replace("/", ".")


def _suffixes(matrix: Matrix) -> tuple[str, str]:
    if matrix.embedding:
        return "lora_embedding_A", "lora_embedding_B"
    return "lora_A.weight", "lora_B.weight"
