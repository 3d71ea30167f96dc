"""Which layers give something else at each call, for the same input: calling them twice shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import call_for_training
from frostline._keras.methods import patched
from frostline._keras.variables import to_numpy
from frostline.backends import dispatch
from frostline.diagnostics.model_loss import tensors
from frostline.model.inventory import Inventory

_ROUNDING = 1e-3
"""Sums in another order give slightly other numbers on some devices."""


def changing_layers(model: Any, parts: Inventory, x: Any) -> frozenset[str]:
    """Return the addresses of the layers whose outputs differ between two calls in training on one batch.

    Whatever it comes from: weights that a layer makes at each call, a generator that Keras does not know, a
    counter in Python. Variables of Keras begin both calls with the same values.

    Args:
        model: The model.
        parts: Its weights and layers.
        x: A batch of inputs, as `fit` takes them.

    Raises:
        Exception: Whatever the model raises.
    """
    by_layer = {id(node.layer): node.address for node in parts.layers}
    with dispatch.gradient_check().same_randomness(), parts.held_state_kept():
        first, second = (_outputs(model, by_layer, x) for _ in range(2))
    both = {address: (first.get(address, []), second.get(address, [])) for address in {*first, *second}}
    return frozenset(address for address, (one, other) in both.items() if not _alike(one, other))


def _outputs(model: Any, by_layer: Mapping[int, str], x: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with keras.StatelessScope(collect_losses=True), _outputs_noted(by_layer, found):
        call_for_training(model, tensors(x))
    return found


@contextmanager
def _outputs_noted(by_layer: Mapping[int, str], found: dict[str, list[Any]]) -> Iterator[None]:
    original = keras.Layer.__call__

    def called(layer: Any, *arguments: Any, **options: Any) -> Any:
        output = original(layer, *arguments, **options)
        if id(layer) in by_layer:
            flat = [one for one in keras.tree.flatten(output) if keras.ops.is_tensor(one)]
            found.setdefault(by_layer[id(layer)], []).extend(flat)
        return output

    with patched(keras.Layer, __call__=called):
        yield


def _alike(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: Any, other: Any) -> bool:
    mine, its = to_numpy(one), to_numpy(other)
    if mine.shape != its.shape or mine.dtype.kind not in "fcV":
        return bool(np.array_equal(mine, its))
    return bool(np.allclose(mine, its, rtol=_ROUNDING, atol=_ROUNDING * float(np.abs(mine).max(initial=0.0))))
