"""The slots of an optimizer, found by how it holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy.typing as npt

from frostline._keras.optimizers import optimizer_counters, optimizer_own_variables, optimizer_targets
from frostline.errors import OptimizerError, listed

Array = npt.NDArray[Any]

_NO_SLOTS = ("_variables", "_trainable_variables")
"""Lists in every optimizer that may be as long as a list of slots: what it owns, and what it updates."""


def slots_of(optimizer: Any) -> list[dict[str, Any]]:
    """Return, for each weight a built optimizer updates, its slot variables by name.

    Raises:
        OptimizerError: Some variable of the optimizer is neither such a slot nor a scalar of its own.
    """
    per_weight, _ = slots_and_scalars(optimizer)
    return per_weight


def slots_and_scalars(optimizer: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the slots of each weight by name, and the variables that all weights share, without counters.

    Slots are what stands in a list with one entry for each weight, None where a weight has no such slot. They
    are named after the attribute that holds the list: what Keras calls a slot has the weight's name in it,
    which is not the same in every process.

    Raises:
        OptimizerError: Some variable of the optimizer is neither.
    """
    targets = optimizer_targets(optimizer)
    counters = {id(v) for v in optimizer_counters(optimizer)}
    found = set(counters)
    per_weight: list[dict[str, Any]] = [{} for _ in targets]
    scalars: dict[str, Any] = {}
    for name, value in vars(optimizer).items():
        if isinstance(value, keras.Variable) and id(value) not in counters:
            scalars[name] = value
            found.add(id(value))
        elif isinstance(value, list) and len(value) == len(targets) and name not in _NO_SLOTS:
            if not all(entry is None or isinstance(entry, keras.Variable) for entry in value):
                continue
            for slots, entry in zip(per_weight, value, strict=True):
                if entry is not None:
                    slots[name] = entry
                    found.add(id(entry))
    unknown = [v.name for v in optimizer_own_variables(optimizer) if id(v) not in found]
    if unknown:
        raise OptimizerError(
            f"the optimizer {type(optimizer).__name__} holds variables that belong to no weight",
            received=listed(unknown),
            expected="each slot in a list with one entry per weight, as Keras's own optimizers hold them",
        )
    return per_weight, scalars


def assign_by_name(variables: Mapping[str, Any], values: Mapping[str, Array]) -> None:
    """Give variables their values; what there is no variable for is left out."""
    for name, value in values.items():
        if name in variables:
            variables[name].assign(value)
