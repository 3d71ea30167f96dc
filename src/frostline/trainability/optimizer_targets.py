"""What an optimizer updates under a plan, from the flags that are set on the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from frostline._keras.optimizers import compiled_optimizer
from frostline._keras.trainers import own_buffers
from frostline.optimizers.rebuild import set_targets
from frostline.optimizers.state import Target
from frostline.resolution.resolution import Resolution


def planned_targets(model: Any, resolution: Resolution) -> tuple[Target, ...]:
    """Return what a resolution that is on a model trains, with its multipliers."""
    by_id = {id(v): (address, d) for d in resolution.trained for address, v in d.weight.targets}
    decisions = [(v, *by_id[id(v)]) for v in model.trainable_variables]
    return tuple(Target(address, v, d.lr, d.decay) for v, address, d in decisions)


def flagged_targets(model: Any, resolution: Resolution, before: Iterable[Target]) -> tuple[Target, ...]:
    """Return what Keras's own flags let train, with the multipliers that held before."""
    rates = {target.address: target.rates for target in before}
    addresses = addresses_by_id(resolution)
    known = [(addresses[id(v)], v) for v in model.trainable_variables if id(v) in addresses]
    return tuple(Target(address, v, *rates.get(address, (1.0, 1.0))) for address, v in known)


def addresses_by_id(resolution: Resolution) -> dict[int, str]:
    """Return the address of each variable that an optimizer may know, by `id`.

    Of a parametrized weight these are the weight itself and its parts as they are now.
    """
    roles = resolution.inventory.of_role("weight", "statistic")
    return {id(v): address for w in roles for address, v in ((w.address, w.variable), *w.targets)}


def bring_under(optimizer: Any, model: Any, resolution: Resolution) -> bool:
    """Let an optimizer follow a resolution that is on a model; return whether that changed the optimizer.

    Raises:
        OptimizerError: It cannot be used with a plan, or was built for other weights. Nothing is changed.
    """
    targets = planned_targets(model, resolution)
    return set_targets(optimizer, targets, addresses_by_id(resolution), renew=False)


def retarget(model: Any, resolution: Resolution, targets: Sequence[Target], known: Mapping[int, str]) -> bool:
    """Let the optimizer of a compiled model update these weights; return whether that changed it.

    Args:
        model: The model, compiled or not.
        resolution: Tells the addresses of its variables now.
        targets: What it updates from now on.
        known: The addresses of variables that the model had before: parts that a plan has just taken off.

    Raises:
        OptimizerError: It cannot be used with a plan. Nothing is changed then.
    """
    optimizer = compiled_optimizer(model)
    if optimizer is None:
        return False
    changed = set_targets(optimizer, targets, {**known, **addresses_by_id(resolution)})
    own_buffers(model)
    return changed
