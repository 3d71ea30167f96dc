"""Seeing what a model does while it is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from frostline._keras.calls import entry_layer
from frostline.errors import LayerInCallError
from frostline.model.inventory import Inventory


@contextmanager
def layers_made_in_call(model: Any, held: Inventory) -> Iterator[None]:
    """Raise `LayerInCallError` where the model makes weights of a layer that it does not own.

    TensorFlow refuses such a layer with an error about singleton variables; JAX and PyTorch draw fresh
    random weights at every call, train none of them and say nothing.
    """
    import keras

    known = {id(node.layer) for node in held.layers}
    found: list[LayerInCallError] = []
    original = keras.Layer.add_weight

    def add_weight(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # Keras on JAX calls what is in a model without calling the model.
        if id(layer) not in known and id(entry_layer()) in known:
            found.append(_error(model, layer))
            raise found[0]
        return original(layer, *args, **kwargs)

    keras.Layer.add_weight = add_weight
    try:
        yield
    except Exception as error:
        if found and error is not found[0]:
            # Keras and tf.function wrap what is raised inside a call.
            raise found[0] from error
        raise
    finally:
        keras.Layer.add_weight = original


def _error(model: Any, layer: Any) -> LayerInCallError:
    return LayerInCallError(
        f"the model {model.name!r} makes the layer {layer.name!r} ({type(layer).__name__}) while it is "
        "called, so its weights are new at every call and nothing trains or saves them",
        expected="layers made once, in __init__ or build",
        remedy=f"set self.{layer.name} = keras.layers.{type(layer).__name__}(...) in __init__ and call it "
        "in call",
    )
