"""Objects that people take for Keras 3 models, as the libraries that they come from name their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_CLASSES = {
    "Keras 2": ("tf_keras.src.engine.training.Model", "tf_keras.src.engine.sequential.Sequential"),
    "Keras 2 in TensorFlow": ("tensorflow.python.keras.engine.training.Model",),
    "PyTorch": ("torch.nn.modules.module.Module", "torch.nn.modules.container.Sequential"),
    "Transformers": (
        "torch.nn.modules.module.Module",
        "transformers.modeling_utils.PreTrainedModel",
        "transformers.models.bert.modeling_bert.BertModel",
    ),
    "PEFT": ("torch.nn.modules.module.Module", "peft.peft_model.PeftModel"),
    "Flax NNX": ("flax.nnx.module.Module",),
    "Flax Linen": ("flax.linen.module.Module",),
    "TensorFlow": ("tensorflow.python.module.module.Module",),
}


def made(*names: str) -> Any:
    """Return an object of a class of the last name, which is a user's own subclass of the others."""
    above: type = object
    for name in names:
        module, _, own = name.rpartition(".")
        above = type(own, (above,), {"__module__": module})
    return type("MyModel", (above,), {"__module__": "mine"})()


def foreign_models() -> dict[str, Any]:
    """Return one of each kind, by its kind."""
    plain = {"a name": "model.keras", "a path": Path("model.keras"), "a class": type("Net", (), {})}
    return plain | {kind: made(*names) for kind, names in _CLASSES.items()}


SAYS = {
    "Keras 2": (
        "this is Keras 2, and ",
        "set_weights",
        "fl.explain",
        "fl.fingerprint",
        "KERAS_BACKEND=tensorflow",
    ),
    "Keras 2 in TensorFlow": ("this is Keras 2, and ",),
    "PyTorch": (
        "this is a PyTorch module, and ",
        "TorchModuleWrapper",
        "fl.explain(loss_fn, module)",
        "fl.fingerprint(dict(module.named_parameters()))",
        "KERAS_BACKEND=torch",
    ),
    "Transformers": ("this is a model of Transformers, and ", "KerasHub", "fl.explain(loss_fn, module)"),
    "PEFT": ("this is a model of PEFT, and ", "fl.import_peft", "fl.explain(loss_fn, module)"),
    "Flax NNX": ("this is a module of Flax NNX, and ", "fl.explain(loss_fn, module)", "KERAS_BACKEND=jax"),
    "Flax Linen": ("this is a module of Flax Linen, and ", "FlaxLayer"),
    "TensorFlow": ("this is a module of TensorFlow, and ", "fl.explain(loss_fn, module)"),
    "a name": ("this is a name, and ", "fl.load_model(path)"),
    "a path": ("this is a name, and ", "fl.load_model(path)"),
    "a class": ("this is a class, and ", "model = Net(...)", "the class helpers.foreign_models.Net"),
}
"""What a message must say of each."""
