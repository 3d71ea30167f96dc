"""A model made again from its configuration, as loading a saved file makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from frostline._keras.variables import to_numpy
from frostline.diagnostics.model_loss import tensors
from frostline.diagnostics.prediction import prediction
from frostline.diagnostics.untracked_twins import untracked_values_copied
from frostline.errors import UnsupportedVersionError, text_of
from frostline.model.inventory import Inventory, Weight, inventory


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """How a model that was made again from its configuration compares with the original.

    Attributes:
        error: Why it could not be made again, one sentence; `""` where it could.
        fits: Whether it has the same weights, by role and shape, in their order.
        trains: For each weight, by address, whether it trains in the copy; None where the weights do not fit.
        difference: The largest difference of outputs in inference mode, over the largest output; 0 where the
            model does not give the same twice, or where two copies differ by what the model does not own.
    """

    error: str = ""
    fits: bool = False
    trains: Mapping[str, bool] | None = None
    difference: float = 0.0


def round_trip(
    model: Any, original: Inventory, x: Any, *, compare: bool, untracked: bool = False
) -> RoundTrip:
    """Make a model again from its configuration and compare it with the original.

    Args:
        model: The model.
        original: Its weights and layers.
        x: A batch of inputs.
        compare: Whether to compare outputs, too.
        untracked: Whether the model computes with variables that it does not own. A copy has its own.
    """
    try:
        copy = _made_again(model, original, x)
        copied = inventory(copy)
    except UnsupportedVersionError:
        raise  # what Frostline itself cannot read says nothing of the model
    except Exception as error:  # constructors of users raise what they like; FL402 prints it
        return RoundTrip(error=_first_sentence(error))
    pairs = _pairs(original, copied)
    if pairs is None:
        return RoundTrip()
    flags = {id(v) for v in copy.trainable_variables}
    trains = {one.address: id(other.variable) in flags for one, other in pairs if one.role == "weight"}
    if not compare:
        return RoundTrip("", True, trains)
    found = _difference(model, original, (copy, copied), x)
    if found > SAME and _is_of_chance(model, original, copy, x, untracked):
        found = 0.0
    return RoundTrip("", True, trains, found)


SAME = 1e-4
"""A difference of outputs up to which they are the same but for rounding."""


def _made_again(model: Any, original: Inventory, x: Any) -> Any:
    classes = {type(node.layer).__name__: type(node.layer) for node in original.layers}
    with keras.saving.custom_object_scope(classes):
        data = keras.saving.serialize_keras_object(model)
        copy = keras.saving.deserialize_keras_object({**data, "compile_config": None})
        if not copy.built:
            copy(tensors(x))
    return copy


def _is_of_chance(model: Any, original: Inventory, copy: Any, x: Any, untracked: bool) -> bool:
    """Whether a difference need not come from the configuration.

    A model that does not give the same twice differs from its copy for that alone. And what it does not own
    is made anew in each copy: where two copies differ, too, nothing can be said.
    """
    if _apart(model, model, x) > SAME:
        return True
    if not untracked:
        return False
    another = _made_again(model, original, x)
    return _difference(copy, original, (another, inventory(another)), x) > SAME


def _pairs(original: Inventory, copied: Inventory) -> list[tuple[Weight, Weight]] | None:
    """Return each weight of the one with that of the other; None where they do not fit.

    Keras loads by the order of layers: names that it numbered by itself are others in a copy, and so are
    those that a configuration leaves out.
    """
    ours, theirs = (one.of_role("weight", "statistic", "seed") for one in (original, copied))
    if set(original.by_address) == set(copied.by_address):
        found = [(one, copied.by_address[one.address]) for one in ours]
    else:
        if len(ours) != len(theirs):
            return None
        found = list(zip(ours, theirs, strict=True))
    fits = all((one.role, one.shape) == (other.role, other.shape) for one, other in found)
    return found if fits else None


def _first_sentence(error: Exception) -> str:
    lines = text_of(error).splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0]


def _difference(model: Any, original: Inventory, made: tuple[Any, Inventory], x: Any) -> float:
    """Give a copy the values of the original, and return how far it then is from a model."""
    copy, copied = made
    untracked_values_copied(original, copied)
    for one, other in _pairs(original, copied) or ():
        other.variable.assign(one.numpy())
    return _apart(model, copy, x)


def _apart(model: Any, other_model: Any, x: Any) -> float:
    found = 0.0
    outputs = [keras.tree.flatten(prediction(one, x)) for one in (model, other_model)]
    for mine, other in zip(*(map(to_numpy, flat) for flat in outputs), strict=True):
        size = float(np.max(np.abs(mine), initial=0.0)) or 1.0
        found = max(found, float(np.max(np.abs(mine - other), initial=0.0)) / size)
    return found
