"""What a model makes of a batch where it does not train, without leaving a trace."""

from __future__ import annotations

from typing import Any

import keras

from frostline._keras.calls import call_for_inference
from frostline.backends import dispatch
from frostline.diagnostics.model_loss import tensors


def prediction(model: Any, x: Any) -> Any:
    """Call a model in inference mode; its seeds, statistics and the generators stay as they are.

    So what is drawn at random is the same at each call, and that of two models with the same seeds alike.

    Args:
        model: The model.
        x: A batch of inputs, as `fit` takes them.

    Raises:
        Exception: Whatever the model raises.
    """
    with keras.StatelessScope(), dispatch.gradient_check().same_randomness():
        return call_for_inference(model, tensors(x))
