"""What is planned for each weight: by a plan, or by the flags that Keras goes by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from frostline._keras.layers import layer_flag
from frostline.model.inventory import Inventory, inventory
from frostline.plan.plan import Plan
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.trainability.apply import flags_applied


@dataclass(frozen=True, slots=True)
class Planned:
    """Which weights are to train.

    Attributes:
        held: The weights and layers of the model.
        trained: Addresses of the weights that are to train.
        moving: Addresses of the statistics that are to move.
        resolution: What the plan decided; None where the model's own flags are what is planned.
    """

    held: Inventory
    trained: frozenset[str]
    moving: frozenset[str]
    resolution: Resolution | None


@contextmanager
def planned(model: Any, plan: Plan | Resolution | None) -> Iterator[Planned]:
    """Say what is planned, with the model set up so inside the block and as it was afterwards.

    The optimizer is not touched.
    """
    if plan is None:
        held = inventory(model)
        flags = {id(v) for v in model.trainable_variables}
        weights = held.of_role("weight")
        trained = frozenset(w.address for w in weights if any(id(v) in flags for _, v in w.targets))
        yield Planned(held, trained, _moving(held), None)
        return
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    with flags_applied(model, resolution):
        yield Planned(
            resolution.inventory,
            frozenset(d.weight.address for d in resolution.trained),
            frozenset(d.weight.address for d in resolution.statistics if d.trains),
            resolution,
        )


def _moving(held: Inventory) -> frozenset[str]:
    """Return the statistics of layers that train at least one weight: there, moving is as expected."""
    found: set[str] = set()
    for node in held.layers:
        own = [held.by_address[address] for address in node.own]
        weights = [w for w in own if w.role == "weight"]
        flags = [variable.trainable for w in weights for _, variable in w.targets]
        trains = any(flags) if weights else layer_flag(node.layer)
        if trains:
            found.update(w.address for w in own if w.role == "statistic")
    return frozenset(found)
