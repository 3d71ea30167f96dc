"""What must hold of a model before anything is done with it."""

from __future__ import annotations

from typing import Any

from frostline.errors import ModelError, UnbuiltModelError, listed
from frostline.model.addresses import walk
from frostline.model.foreign_models import foreign_model
from frostline.model.task_data import layers_beside
from frostline.model.weightless import makes_weights


def require_keras_model(
    model: Any, verb: str, *, expected: str = "a built keras.Model", remedy: str | None = None
) -> None:
    """Check that a model is a `keras.Model`.

    Args:
        model: What was given as a model.
        verb: What was to be done with it, as a participle: `saved`.
        expected: What it should have been, for the message.
        remedy: How to fix it, for the message.

    Raises:
        ModelError: It is something else.
    """
    import keras

    if isinstance(model, keras.Model):
        return
    foreign = None if isinstance(model, keras.Layer) else foreign_model(model)
    what = f"only a keras.Model can be {verb}"
    raise ModelError(
        f"this is {foreign.what}, and {what}" if foreign else what,
        received=_kind(model),
        expected=expected,
        remedy=foreign.remedy if foreign else remedy,
    )


def require_keras_layer(model: Any) -> None:
    """Check that a model is a `keras.Layer`, as every `keras.Model` is.

    Raises:
        ModelError: It is something else.
    """
    import keras

    if isinstance(model, keras.Layer):
        return
    foreign = foreign_model(model)
    raise ModelError(
        f"this is {foreign.what}, and not a Keras 3 model" if foreign else "this is not a Keras model",
        received=_kind(model),
        expected="a keras.Model or keras.Layer",
        remedy=foreign.remedy if foreign else None,
    )


def require_built(model: Any) -> None:
    """Check that all weights of a model exist.

    Raises:
        UnbuiltModelError: Some do not exist yet; names the layers.
    """
    import keras

    beside = layers_beside(model)

    def may_make(layer: Any) -> bool:
        """Whether weights of a layer, or in it, may not exist yet; a model may make any when it is called."""
        inside = (one for one in walk(layer) if not one.built and id(one) not in beside)
        return not layer.built and any(isinstance(one, keras.Model) or makes_weights(one) for one in inside)

    unbuilt = [layer.name for layer in walk(model) if may_make(layer)]
    if unbuilt:
        raise UnbuiltModelError(
            f"the model {model.name!r} is not built, so its weights do not exist yet",
            received=f"{len(unbuilt)} unbuilt layers: {listed(unbuilt)}",
            expected="a model that knows the shape of its input",
            remedy="call model.build(input_shape), or call it once on a batch: model(x[:1])",
        )


def _kind(model: Any) -> str:
    if isinstance(model, type):
        return f"the class {model.__module__}.{model.__qualname__}"
    return f"an object of type {type(model).__module__}.{type(model).__qualname__}"
