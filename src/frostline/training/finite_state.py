"""Which numbers of a training were finite at its start, and which of them are not any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from frostline._keras.layers import whole_weight
from frostline._keras.optimizers import compiled_optimizer
from frostline._keras.trainers import sync_values
from frostline._keras.variables import read_value
from frostline.backends.dispatch import finite_check
from frostline.files.tensor_file import Array
from frostline.model.inventory import Weight, inventory
from frostline.optimizers.state import named_variables
from frostline.trainability.plan_on_model import resolution_on
from frostline.verification.digest import is_finite


class FiniteState:
    """What of a model and its optimizer may move, and where that was finite before it could.

    Elements that held NaN or infinity from the beginning, as masks do, are not looked at.

    Args:
        model: The compiled model, under a plan.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._start: dict[int, Array | None] = {}
        """Where each variable was finite, by its `id`; None for everywhere. `_known` keeps them alive."""
        self._known: list[Any] = []
        self._weights: tuple[Any, list[Weight]] = (None, [])
        """The weights and statistics of the model, and the resolution under which they were looked up."""

    def note_start(self) -> None:
        """Note where what may move from now on is finite; what was noted earlier stays."""
        for variable in self.moving().values():
            if id(variable) not in self._start:
                value = read_value(variable)
                self._start[id(variable)] = None if is_finite(value) else np.isfinite(value)
                self._known.append(variable)

    def moving(self) -> dict[str, Any]:
        """Return the variables of floating numbers that a step may change now, by address."""
        trained = {id(whole_weight(variable)) for variable in self._model.trainable_variables}
        resolution = resolution_on(self._model)
        # What trains, what layers move, and what code assigns.
        free = {d.weight.address for d in resolution.changing} if resolution else None
        found = {
            address: variable
            for weight in self._weights_under(resolution)
            if id(weight.variable) in trained
            or (weight.role == "statistic" if free is None else weight.address in free)
            for address, variable in weight.targets
        }
        return {address: variable for address, variable in found.items() if _is_floating(variable)}

    def _weights_under(self, resolution: Any) -> list[Weight]:
        """Return weights and statistics of the model; they stay the same as long as a resolution is on."""
        if resolution is None or self._weights[0] is not resolution:
            self._weights = resolution, list(inventory(self._model).of_role("weight", "statistic"))
        return self._weights[1]

    def watched(self) -> list[Any]:
        """Return what to look at after each step: what was finite throughout, and sums of gradients."""
        optimizer = compiled_optimizer(self._model)
        chosen = [v for v in self.moving().values() if self._start.get(id(v)) is None]
        if getattr(optimizer, "gradient_accumulation_steps", None):
            chosen += [v for v in optimizer.variables if _is_floating(v)]
        return chosen

    def spoilt(self) -> list[str]:
        """Return the addresses of what is not finite any more; slots where these alone are not."""
        sync_values(self._model)
        moving = [address for address, variable in self.moving().items() if self._is_spoilt(variable)]
        return moving or [*map(_slot_text, self._spoilt_slots())]

    def _is_spoilt(self, variable: Any) -> bool:
        value, start = read_value(variable), self._start.get(id(variable))
        return not is_finite(value if start is None else np.where(start, value, np.zeros_like(value)))

    def _spoilt_slots(self) -> Iterable[str]:
        optimizer = compiled_optimizer(self._model)
        if optimizer is None or not optimizer.built:
            return ()
        floating = [v for v in optimizer.variables if _is_floating(v)]
        check = finite_check()
        if not floating or all(check.read([check.all_finite([v.value for v in floating])])):
            return ()
        names = {id(v): name for name, v in named_variables(optimizer).items()}
        return [names.get(id(v), v.name) for v in floating if not is_finite(read_value(v))]


def _slot_text(name: str) -> str:
    """Say `0/head/kernel/_velocities` in words."""
    address, _, slot = name.partition("/")[2].rpartition("/")
    return (
        f"{slot.lstrip('_') or name} of {address} in the optimizer" if address else f"{name} of the optimizer"
    )


def _is_floating(variable: Any) -> bool:
    return "float" in str(variable.dtype)
