"""What can be read of pipelines of data: `tf.data`, PyTorch's loaders, Keras's datasets.

By the names of their attributes, since neither TensorFlow nor PyTorch may be imported for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from frostline.model.code_identity import Description
from frostline.model.code_origin import attribute
from frostline.model.members import own_attributes

_TF_SETTINGS = (
    "_batch_size",
    "_buffer_size",
    "_count",
    "_drop_remainder",
    "_seed",
    "_seed2",
    "_cycle_length",
)
_TF_FUNCTIONS = ("_map_func", "_predicate", "_reduce_func")
_LOADER = ("batch_size", "drop_last", "collate_fn")


def pipeline_data(source: Any, known: Description, at: str) -> Any:
    """Return what a source of data is; None for what is not a pipeline.

    Args:
        source: Anything.
        known: Describes what it is made of.
        at: Where it was found, in words.
    """
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(source).__mro__}
    for name, read in _READERS.items():
        if name in kinds:
            return {"class": known.of(type(source), at), **read(source, known, at)}
    return None


def _keras_dataset(source: Any, known: Description, at: str) -> dict[str, Any]:
    return known.items(own_attributes(source), at)


def _loader(source: Any, known: Description, at: str) -> dict[str, Any]:
    settings = {name: getattr(source, name, None) for name in _LOADER}
    sampler = getattr(source, "sampler", None)
    public = [(n, one) for n, one in sorted(vars(sampler).items()) if n not in ("data_source", "generator")]
    generator = getattr(source, "generator", None)
    batches = getattr(source, "batch_sampler", None)
    if source.batch_size is None and batches is not None:
        settings["batch_sampler"] = batches  # one that was given; the loader makes its own otherwise
    return {
        **known.items(settings.items(), at),
        "sampler": {"class": known.of(type(sampler), at), **known.items(public, f"{at}/sampler")},
        "seed": None if generator is None else generator.initial_seed(),
        "dataset": known.of(source.dataset, f"{at}/dataset"),
    }


def _torch_dataset(source: Any, known: Description, at: str) -> dict[str, Any]:
    return known.items([(n, one) for n, one in sorted(vars(source).items()) if not n.startswith("__")], at)


def _tf_dataset(source: Any, known: Description, at: str) -> dict[str, Any]:
    found: dict[str, Any] = {"elements": str(source.element_spec)}
    # How many batches wait ahead makes nothing of them.
    for name in () if "Prefetch" in type(source).__name__ else _TF_SETTINGS:
        if (value := getattr(source, name, None)) is not None:
            found[name.lstrip("_")] = _number(value)
    for name in _TF_FUNCTIONS:
        function = attribute(attribute(source, name), "_func")
        if function is not None:
            found[name.lstrip("_")] = known.of(function, f"{at}/{name.lstrip('_')}")
    if (tensors := attribute(source, "_tensors")) is not None:
        found["tensors"] = known.of([one.numpy() for one in tensors if hasattr(one, "numpy")], at)
    inputs: list[Any] = (attribute(source, "_inputs") or list)()
    if not inputs and tensors is None:
        known.gap(at, f"what {type(source).__name__} reads")
    return found | {"of": [pipeline_data(one, known, f"{at}/of") for one in inputs]} if inputs else found


def _number(value: Any) -> Any:
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.item() if hasattr(value, "item") else value


_Reader = Callable[[Any, Description, str], dict[str, Any]]
_READERS: dict[str, _Reader] = {
    f"keras.{keras.utils.PyDataset.__name__}": _keras_dataset,
    "torch.DataLoader": _loader,
    "torch.Dataset": _torch_dataset,
    "tensorflow.DatasetV2": _tf_dataset,
}
