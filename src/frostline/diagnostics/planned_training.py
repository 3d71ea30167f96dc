"""Which weights are to train: by a plan, or by the flags of the model itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from frostline._keras.layers import layer_flag
from frostline.backends import dispatch
from frostline.model.inventory import Inventory, inventory
from frostline.plan.plan import Plan
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.trainability.apply import flags_applied


@dataclass(frozen=True, slots=True)
class PlannedTraining:
    """Which weights are to train.

    Attributes:
        inventory: The weights and layers of the model.
        trained: Addresses of the weights that are to train.
        moving: Addresses of the statistics that are to move.
        assigned: Addresses of the weights and statistics that code is to assign.
        resolution: What the plan decided; None where the model's own flags are what is planned.
    """

    inventory: Inventory
    trained: frozenset[str]
    moving: frozenset[str]
    resolution: Resolution | None
    assigned: frozenset[str] = frozenset()


@contextmanager
def under_plan(model: Any, plan: Plan | Resolution | None) -> Iterator[PlannedTraining]:
    """Put a plan on a model inside the block, and say which weights are then to train.

    Afterwards the model is as before. The optimizer is not touched.
    """
    if plan is None:
        unplanned = inventory(model)
        flags = {id(v) for v in model.trainable_variables}
        weights = unplanned.of_role("weight")
        put_off = dispatch.train_step().is_put_off
        trained = frozenset(
            w.address for w in weights if any(id(v) in flags and not put_off(v) for _, v in w.targets)
        )
        yield PlannedTraining(unplanned, trained, _moving(unplanned), None)
        return
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    with flags_applied(model, resolution):
        yield PlannedTraining(
            resolution.inventory,
            frozenset(d.weight.address for d in resolution.trained),
            frozenset(d.weight.address for d in resolution.moving),
            resolution,
            frozenset(d.weight.address for d in resolution.assigned),
        )


def _moving(parts: Inventory) -> frozenset[str]:
    """Return the statistics of layers that train at least one weight: there, moving is as expected."""
    found: set[str] = set()
    for node in parts.layers:
        own = [parts.by_address[address] for address in node.own]
        weights = [w for w in own if w.role == "weight"]
        flags = [variable.trainable for w in weights for _, variable in w.targets]
        trains = any(flags) if weights else layer_flag(node.layer)
        if trains:
            found.update(w.address for w in own if w.role == "statistic")
    return frozenset(found)
