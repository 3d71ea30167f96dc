"""Modules of the backend's own inside a layer: which of them a plan freezes, and how they run then.

One `TorchModuleWrapper` may hold a whole network. So what holds of Keras layers holds of the modules in it:
one whose weights are all frozen runs in inference mode, with all that is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from frostline.model.inventory import Inventory, ModuleNode
from frostline.plan.plan import Plan
from frostline.plan.schema import Action
from frostline.resolution.decision import Decision
from frostline.resolution.resolution import LayerMode


def modes_of_modules(
    inventory: Inventory,
    plan: Plan,
    frozen_layers: frozenset[str],
    decisions: Mapping[str, Decision],
    last_action: Callable[[str], Action],
) -> tuple[LayerMode, ...]:
    """Say how each frozen module inside a layer runs.

    Args:
        inventory: The model.
        plan: The plan, whose policies say how.
        frozen_layers: Addresses of the layers that are frozen as a whole.
        decisions: What it decided for each weight.
        last_action: What the last rule for the whole of a variable does, by its address.
    """
    frozen: set[str] = set()
    modes = []
    for node in inventory.modules:  # a module comes before what is in it
        inside = node.layer in frozen_layers or node.address.rpartition("/")[0] in frozen
        if node.follows is not None:
            is_frozen = node.follows in frozen
        else:
            is_frozen = inside or _by_itself(node, decisions, last_action)
        if is_frozen:
            frozen.add(node.address)
            keeps = any(a not in decisions for a in node.own)
            policy = plan.batchnorm if keeps else plan.stochastic
            modes.append(LayerMode(node.address, keeps, forced=policy == "inference"))
    return tuple(modes)


def _by_itself(
    node: ModuleNode, decisions: Mapping[str, Decision], last_action: Callable[[str], Action]
) -> bool:
    """Whether all that a module holds is frozen."""
    weights = [decisions[a] for a in node.below if a in decisions]
    if weights:
        return not any(d.trains for d in weights)
    # A module of statistics alone is frozen where the rules would freeze a weight in its place.
    return bool(node.below) and all(last_action(a) == "freeze" for a in node.below)


def held_by_modules(inventory: Inventory, modes: tuple[LayerMode, ...]) -> frozenset[str]:
    """Return the addresses of the statistics that modules in inference mode hold."""
    forced = {mode.address for mode in modes if mode.forced}
    return frozenset(a for node in inventory.modules if node.address in forced for a in node.own)
