"""What the optimizer of a training does and holds, between two steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frostline._keras.optimizers import compiled_optimizer, optimizer_chain, optimizer_targets
from frostline._keras.variables import to_numpy
from frostline.diagnostics.planned_training import under_plan
from frostline.diagnostics.training_look import Trained
from frostline.model.inventory import inventory
from frostline.optimizers.rebuild import strangers_in
from frostline.optimizers.state import steps_made
from frostline.trainability.plan_on_model import resolution_on


@dataclass(frozen=True, slots=True)
class Optimizing:
    """What the optimizer does and holds.

    Attributes:
        steps: How many updates it has made; None where that is not known.
        rate: Its learning rate; None where that is not known.
        strangers: What it holds that is not the model's.
        lacking: What is to train and it does not hold.
        may_wait: Why it may rightly update nothing for a while; else empty.
    """

    steps: int | None = None
    rate: float | None = None
    strangers: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    may_wait: str = ""


def optimizing(model: Any, trained: Trained) -> Optimizing:
    """Return what the optimizer of a model does and holds now."""
    optimizer = compiled_optimizer(model)
    if optimizer is None or not optimizer.built:
        return Optimizing()
    chain = optimizer_chain(optimizer)
    inner = chain[-1]
    summed = inner.gradient_accumulation_steps or 1
    known = {id(variable) for variable in optimizer_targets(inner)}
    waits = "gradients are summed up" if summed > 1 else "steps that overflow are left out"
    weights = trained.inventory.of_role("weight", "statistic")
    addresses = {id(v): a for w in weights for a, v in ((w.address, w.variable), *w.targets)}
    return Optimizing(
        steps_made(optimizer) // summed,
        float(to_numpy(inner.learning_rate)),
        tuple(strangers_in(optimizer, addresses)),
        tuple(w.address for w in trained.weights if not known.issuperset(id(v) for _, v in w.targets)),
        waits if summed > 1 or len(chain) > 1 else "",
    )


def trained_now(model: Any) -> Trained:
    """Return what trains: by the plan that is on the model, or by its flags."""
    resolution = resolution_on(model)
    if resolution is None:
        with under_plan(model, None) as planned:
            return _of(planned.inventory, planned.trained, planned.moving)
    trained = frozenset(d.weight.address for d in resolution.trained)
    return _of(inventory(model), trained, frozenset(d.weight.address for d in resolution.moving))


def _of(found: Any, trained: frozenset[str], moving: frozenset[str]) -> Trained:
    # Only numbers that gradients exist for can be compared by their size.
    weights = [w for w in found.of_role("weight") if w.address in trained and not w.is_held]
    return Trained(found, tuple(weights), moving)
