"""What is given as a model and is not one of Keras 3: what it is, and what of Frostline works for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from os import PathLike
from typing import Any

_RAW = (
    "as it is, fl.explain(loss_fn, {it}) says which of its {parts} get a gradient, and "
    "fl.fingerprint({by_name}) and fl.verify which of them moved"
)
_TORCH = _RAW.format(it="module", parts="parameters", by_name="dict(module.named_parameters())")


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """What an object is that is not a Keras 3 model.

    Attributes:
        what: With its article: `a PyTorch module`.
        remedy: What of Frostline works for it today, and what would make a Keras model of it.
    """

    what: str
    remedy: str


_KINDS: tuple[tuple[re.Pattern[str], ForeignModel], ...] = (
    (
        re.compile(r"(tf_keras|tensorflow\.python\.keras)\."),
        ForeignModel(
            "Keras 2",
            "build the same model with `import keras` and take its numbers over by "
            "set_weights(old.get_weights()); unset TF_USE_LEGACY_KERAS if that made it; "
            + _RAW.format(it="model", parts="variables", by_name="{v.name: v for v in model.variables}")
            + ", with KERAS_BACKEND=tensorflow",
        ),
    ),
    (
        re.compile(r"peft\.(peft_model|mixed_model)\."),
        ForeignModel(
            "a model of PEFT",
            f"{_TORCH}, with KERAS_BACKEND=torch; an adapter that PEFT saved goes into the same architecture "
            "in Keras by fl.import_peft(model, folder)",
        ),
    ),
    (
        re.compile(r"transformers\..*(modeling_|PreTrainedModel$)"),
        ForeignModel(
            "a model of Transformers",
            "KerasHub has many of the same architectures as Keras models, and reads their checkpoints by "
            f"from_preset('hf://...'); {_TORCH}, with KERAS_BACKEND=torch",
        ),
    ),
    (
        re.compile(r"torch\.nn\.(modules\.|Module$)"),
        ForeignModel(
            "a PyTorch module",
            "keras.layers.TorchModuleWrapper(module) is a Keras layer, for a keras.Model that Frostline "
            f"trains; {_TORCH}; both with KERAS_BACKEND=torch",
        ),
    ),
    (
        re.compile(r"flax\.nnx\.([\w.]*\.)?Module$"),
        ForeignModel(
            "a module of Flax NNX",
            _RAW.format(
                it="module",
                parts="parameters",
                by_name="{str(path): p[...] for path, p in nnx.to_flat_state(nnx.state(module))}",
            )
            + ", with KERAS_BACKEND=jax",
        ),
    ),
    (
        re.compile(r"flax\.linen\.([\w.]*\.)?Module$"),
        ForeignModel(
            "a module of Flax Linen",
            "keras.layers.FlaxLayer(module) is a Keras layer, for a keras.Model that Frostline trains; "
            "as it is, fl.explain(loss_fn, params) says which of its parameters get a gradient; both with "
            "KERAS_BACKEND=jax",
        ),
    ),
    (
        re.compile(r"tensorflow\.python\.module\.module\.Module$"),
        ForeignModel(
            "a module of TensorFlow",
            _RAW.format(it="module", parts="variables", by_name="{v.name: v for v in module.variables}")
            + ", with KERAS_BACKEND=tensorflow",
        ),
    ),
)
"""By the full names of its class and of those above it: none of these libraries needs to be there."""

_PATH = ForeignModel("a name", "model = fl.load_model(path) opens a file that Keras or Frostline saved")
_CLASS = ForeignModel("a class", "make a model of it first: model = {name}(...)")


def foreign_model(model: Any) -> ForeignModel | None:
    """Return what an object is that somebody took for a Keras 3 model; None where that cannot be told."""
    if isinstance(model, str | PathLike):
        return _PATH
    if isinstance(model, type):
        return ForeignModel(_CLASS.what, _CLASS.remedy.format(name=model.__name__))
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__]
    return next((kind for pattern, kind in _KINDS if any(map(pattern.match, names))), None)
