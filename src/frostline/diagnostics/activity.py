"""What layers make of a batch: outputs at the bounds of their activation, statistics beside the batch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import call_for_training
from frostline._keras.layers import last_operations, sublayers
from frostline._keras.methods import patched
from frostline._keras.variables import to_numpy
from frostline.backends import dispatch
from frostline.diagnostics.model_loss import tensors
from frostline.diagnostics.thresholds import BOUND, FEWEST_FOR_STATISTICS
from frostline.diagnostics.watched import Drift, Units
from frostline.errors import said
from frostline.model.inventory import Inventory

_BOUNDS = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}
"""What lies between the bounds of an activation, by its name. Units of rectifiers are seen by gradients."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a forward pass showed.

    Attributes:
        saturated: Units whose output is at a bound for every sample, by address of the layer.
        drift: How far moving statistics are from those of the batch, by address of the layer.
        unseen: Why nothing was seen; else empty.
    """

    saturated: Mapping[str, Units] = field(default_factory=dict)
    drift: Mapping[str, Drift] = field(default_factory=dict)
    unseen: str = ""


def activity_of(model: Any, x: Any, inventory: Inventory, moving: frozenset[str]) -> Activity:
    """Run a model once as in training, and look at layers of interest; nothing of it is kept.

    Args:
        model: The model.
        x: A batch of inputs.
        inventory: Its layers.
        moving: Addresses of the statistics that are to move.
    """
    bounded = {id(n.layer): n.address for n in inventory.layers if _bounds(n.layer) is not None}
    normalizing = {
        id(n.layer): n.address
        for n in inventory.layers
        if isinstance(n.layer, keras.layers.BatchNormalization) and not moving.isdisjoint(n.own)
    }
    if not bounded and not normalizing:
        return Activity()
    saturated: dict[str, Units] = {}
    drift: dict[str, Drift] = {}
    last: Any = None

    def note(layer: Any, given: Any, output: Any) -> None:
        nonlocal last
        last = last if sublayers(layer) else layer
        if (address := bounded.get(id(layer))) is not None:
            # The last call counts: with one layer called twice, either may be at rest.
            saturated.pop(address, None)
            saturated.update(_saturated(address, layer, output))
        if (address := normalizing.get(id(layer))) is not None:
            drift.update(_drift(address, layer, given))

    try:
        with (
            keras.StatelessScope(collect_losses=True),
            dispatch.gradient_check().same_randomness(),
            _calls_noted(note),
        ):
            call_for_training(model, tensors(x))
    except Exception as error:
        # A model without a call of its own, as GANs are; training itself goes on.
        return Activity(unseen=f"outputs of layers: {said(error)}")
    for address in _ends(model, inventory, last):
        saturated.pop(address, None)
    return Activity(saturated, drift)


@contextmanager
def _calls_noted(note: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    original = keras.Layer.__call__

    def called(layer: Any, *arguments: Any, **options: Any) -> Any:
        output = original(layer, *arguments, **options)
        note(layer, arguments[0] if arguments else options.get("inputs"), output)
        return output

    with patched(keras.Layer, __call__=called):
        yield


def _bounds(layer: Any) -> tuple[float, float] | None:
    """Return the bounds of what a layer puts out; recurrent ones put out a product, which has others."""
    if hasattr(layer, "recurrent_activation") or hasattr(layer, "cell"):
        return None
    activation = getattr(layer, "activation", None)
    module = getattr(activation, "__module__", "") or ""
    return _BOUNDS.get(getattr(activation, "__name__", "")) if module.startswith("keras.") else None


def _saturated(address: str, layer: Any, output: Any) -> Iterator[tuple[str, Units]]:
    bounds = _bounds(layer)
    if bounds is None or not keras.ops.is_tensor(output) or len(output.shape) < 2:
        return
    low, high = bounds
    values = to_numpy(output).astype("float32")
    rows = values.reshape(-1, values.shape[-1])
    near = BOUND * (high - low)
    at_bound = ((rows < low + near) | (rows > high - near)).all(axis=0)
    yield address, Units(rows.shape[1], tuple(int(n) for n in np.flatnonzero(at_bound)))


def _ends(model: Any, inventory: Inventory, last: Any) -> Iterator[str]:
    """Yield the layers that answer for the model: a sure answer is no fault."""
    # A model that is no graph of layers shows only in which order it calls them.
    answering = {id(one) for one in last_operations(model)} or {id(last)}
    return (node.address for node in inventory.layers if id(node.layer) in answering)


def _drift(address: str, layer: Any, given: Any) -> Iterator[tuple[str, Drift]]:
    if given is None or not keras.ops.is_tensor(given):
        return
    values = to_numpy(given).astype("float64")
    axis = layer.axis % values.ndim
    rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    if values.shape[0] < FEWEST_FOR_STATISTICS or not np.isfinite(rows).all():
        return
    with keras.StatelessScope():  # as they were before this call
        mean = to_numpy(layer.moving_mean.value).astype("float64")
        variance = to_numpy(layer.moving_variance.value).astype("float64")
    spread = rows.var(axis=0) + layer.epsilon
    off = np.abs(rows.mean(axis=0) - mean) / np.sqrt(spread)
    ratio = (variance + layer.epsilon) / spread
    yield address, Drift(float(np.median(off)), float(np.median(np.maximum(ratio, 1 / ratio))))
