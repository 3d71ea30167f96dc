"""The parametrizations of a plan: on a model, off again, and back to those of the plan before.

What a user put on by hand with `parametrize` is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from frostline._keras.layers import renew_parameters
from frostline._keras.variables import has_value, hold, owns, read_value
from frostline.elements.algebra import same
from frostline.model.inventory import Inventory, Weight
from frostline.parametrization.base import Parametrization
from frostline.parametrization.checks import first_values
from frostline.parametrization.install import Placed
from frostline.parametrization.variable import split

Planned = Mapping[str, Parametrization]
"""The parametrization of each weight that has one by a plan, by address."""


@dataclass(slots=True)
class Switched:
    """What `switch` changed, and the way back to the very objects that were there before.

    Attributes:
        inventory: The weights and layers of the model.
        steps_back: What undoes each change, in the order of the changes.
    """

    inventory: Inventory
    steps_back: list[Callable[[], None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.steps_back)

    def back(self) -> None:
        """Undo the changes; nothing may have been trained since."""
        if self.steps_back:
            for step in reversed(self.steps_back):
                step()
            self.steps_back.clear()
            renew_parameters(node.layer for node in self.inventory.layers)


def planned_on(inventory: Inventory) -> dict[str, Parametrization]:
    """Return what plans have put on the weights of a model."""
    weights = inventory.of_role("weight")
    return {
        w.address: w.combination.how for w in weights if w.combination is not None and w.combination.by_plan
    }


def switch(model: Any, inventory: Inventory, wanted: Planned) -> Switched:
    """Let the weights of a model have the parametrizations of a plan, and no others by plans.

    What stays the same is left alone, so its parts and their slots are. What goes is merged: the weight
    keeps what was trained. Flags, the optimizer and compiled functions are the caller's to renew.

    Args:
        model: The model.
        inventory: Its weights and layers.
        wanted: The parametrizations, which must be possible.

    Raises:
        ParametrizationError: A parametrization of the user's own does not do what it must. The model is as
            before.
    """
    changes = [
        (weight, how)
        for weight in inventory.of_role("weight")
        if not _is_by_hand(weight) and not _same(weight, how := wanted.get(weight.address))
    ]
    # A `fit` that failed on JAX takes the values with it; then there is nothing to merge or to begin from.
    changes = [(weight, how if _has_values(weight) else None) for weight, how in changes]
    parts = {weight.address: first_values(weight, how) for weight, how in changes if how is not None}
    done = Switched(inventory)
    try:
        for weight, how in changes:
            if weight.combination is not None:
                _merge(weight, done)
            if how is not None:
                _put_on(model, inventory, weight, how, parts[weight.address], done)
    except BaseException:
        done.back()
        raise
    if done:
        renew_parameters(node.layer for node in inventory.layers)
    return done


def _is_by_hand(weight: Weight) -> bool:
    return weight.combination is not None and not weight.combination.by_plan


def _has_values(weight: Weight) -> bool:
    return all(has_value(v) for v in (weight.storage, *(part for _, part in weight.targets)))


def _same(weight: Weight, how: Parametrization | None) -> bool:
    now = weight.combination.how if weight.combination is not None else None
    if now is None or how is None:
        return now is how
    if now.keeps_elements and how.keeps_elements:
        return same(now.elements(weight.shape), how.elements(weight.shape))
    return bool(now == how)


def _merge(weight: Weight, done: Switched) -> None:
    """Make a weight plain, with the value that it has now."""
    variable, combination = weight.variable, weight.combination
    placed: Placed = variable.frostline_placed
    value = combination.value() if _has_values(weight) else None
    # Elements come back with the parts, whatever the base holds in their places.
    kept = value is None or combination.how.keeps_elements
    base = None if kept else read_value(combination.base).copy()

    def put_back() -> None:
        if base is not None:
            variable.assign(base)
        hold(combination.base, variable)
        placed.put_on()

    placed.take_off()
    if value is not None:
        variable.assign(value)
    done.steps_back.append(put_back)


def _put_on(
    model: Any,
    inventory: Inventory,
    weight: Weight,
    how: Parametrization,
    parts: Mapping[str, Any],
    done: Switched,
) -> None:
    combination = split(weight.variable, how, parts)
    combination.by_plan = True
    holders = [node.layer for node in inventory.layers if owns(node.layer, weight.variable)]
    placed = Placed(model, weight, combination, holders)
    placed.put_on()
    done.steps_back.append(placed.take_off)
