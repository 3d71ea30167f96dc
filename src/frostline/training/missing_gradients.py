"""Which weights got no gradient, seen from what training left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from frostline._keras.optimizers import optimizer_chain, optimizer_targets
from frostline._keras.variables import to_numpy
from frostline.errors import NoGradientError, listed
from frostline.optimizers.slots import slots_of
from frostline.resolution.resolution import Resolution
from frostline.verification.verify import Verification

_NO_EVIDENCE = ("_model_variables_moving_average", "_accumulated_gradients")
"""Slots that tell nothing: averages follow the weight, accumulated gradients are zero after each update."""


def without_gradient(optimizer: Any, resolution: Resolution, verification: Verification) -> tuple[str, ...]:
    """Return the addresses of trained weights that no gradient reached.

    A weight that did not move got none. One that did may still have been moved by weight decay alone, as JAX
    does where other backends leave it: then every slot of the optimizer that gradients fill is as it began.
    Under an optimizer without slots, and with decay, the two cannot be told apart, and the weight counts as
    reached.

    Args:
        optimizer: The optimizer that trained.
        resolution: What was to train.
        verification: What moved.
    """
    unmoved = set(verification.of("unmoved"))
    inner = optimizer_chain(optimizer)[-1]
    if not inner.built:
        return tuple(d.weight.address for d in resolution.trained)
    telling = {
        id(variable): _telling(found)
        for variable, found in zip(optimizer_targets(inner), slots_of(inner), strict=True)
    }
    missing = []
    for decision in resolution.trained:
        # A parametrized weight has a variable, and slots, for each of its parts.
        parts = [(variable, telling.get(id(variable), {})) for _, variable in decision.weight.targets]
        as_begun = all(_are_as_begun(inner, variable, found) for variable, found in parts)
        # Without any slot only the weight itself can tell.
        if as_begun and (any(found for _, found in parts) or decision.weight.address in unmoved):
            missing.append(decision.weight.address)
    return tuple(missing)


def no_gradient(model: Any, missing: Iterable[str]) -> NoGradientError:
    """Return the error for a training in which nothing could learn; the same text on every backend."""
    return NoGradientError(
        f"nothing that the plan trains in the model {model.name!r} received a gradient",
        received=f"no gradient, or zero at every step, for {listed(missing)}",
        expected="a loss that depends on these weights through differentiable operations",
        remedy="look for round, argmax, a cast to integers, stop_gradient or a learning rate of 0 on the way",
    )


def _telling(slots: Mapping[str, Any]) -> dict[str, Any]:
    return {name: slot for name, slot in slots.items() if name not in _NO_EVIDENCE}


def _are_as_begun(optimizer: Any, variable: Any, slots_now: Mapping[str, Any]) -> bool:
    """Whether no gradient went into the slots of a variable."""
    values = {name: to_numpy(slot) for name, slot in slots_now.items()}
    if not any(np.any(value) for value in values.values()):
        return True
    # Adagrad, for one, begins its slots at 0.1. To ask how slots began means to build an optimizer once more,
    # so that is done only where one is still the same number all over; and not for an optimizer of somebody's
    # own, which may not be made again from its config.
    own = not type(optimizer).__module__.startswith("keras.")
    if own or not any(np.all(value == value.reshape(-1)[:1]) for value in values.values()):
        return False
    first = _first_slots(optimizer, variable)
    return bool(first) and all(np.array_equal(values[name], value) for name, value in first.items())


def _first_slots(optimizer: Any, variable: Any) -> dict[str, Any]:
    """Return what the slots of a variable begin with, but for those that begin as the variable itself.

    The `momentum` of ScheduleFreeAdamW is one. It began as the variable's first value, which is gone: that
    it is not as the variable is now would say nothing.
    """
    new = type(optimizer).from_config(optimizer.get_config())
    new.build([variable])
    weight = to_numpy(variable)
    (begun,) = slots_of(new)
    first = {name: to_numpy(slot) for name, slot in _telling(begun).items()}
    return {name: v for name, v in first.items() if not (np.any(v) and np.array_equal(v, weight))}
