"""Which weights got a gradient, seen from what training left behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from frostline._keras.optimizers import optimizer_chain, optimizer_targets
from frostline.optimizers import rebuild as optimizer
from frostline.resolution.resolution import Resolution
from frostline.verification.verify import Verification

_NO_EVIDENCE = ("_model_variables_moving_average", "_accumulated_gradients")
"""Averages follow the weight, and accumulated gradients are zero after each update."""


def without_gradient(opt: Any, resolution: Resolution, verification: Verification) -> tuple[str, ...]:
    """Return the addresses of trained weights that no gradient reached.

    A weight that did not move got none. One that did may still have been moved by weight decay alone, as JAX
    does where other backends leave it: then every slot of the optimizer that gradients fill is as it began.
    Under an optimizer without slots, and with decay, the two cannot be told apart, and the weight counts as
    reached.

    Args:
        opt: The optimizer that trained.
        resolution: What was to train.
        verification: What moved.
    """
    unmoved = set(verification.of("unmoved"))
    inner = optimizer_chain(opt)[-1]
    if not inner.built:
        return tuple(d.weight.address for d in resolution.trained)
    slots = {
        id(variable): {name: slot for name, slot in held.items() if name not in _NO_EVIDENCE}
        for variable, held in zip(optimizer_targets(inner), optimizer.slots(inner), strict=True)
    }
    missing = []
    for decision in resolution.trained:
        held = [(variable, slots.get(id(variable), {})) for _, variable in decision.weight.targets]
        as_begun = all(_as_begun(inner, variable, each) for variable, each in held)
        if as_begun and (any(each for _, each in held) or decision.weight.address in unmoved):
            missing.append(decision.weight.address)
    return tuple(missing)


def _as_begun(inner: Any, variable: Any, held: dict[str, Any]) -> bool:
    """Whether no gradient went into the slots of a variable."""
    values = {name: _array(slot) for name, slot in held.items()}
    if not any(np.any(value) for value in values.values()):
        return True
    # To ask how they began takes time, so only where it was not at zero, and they may be as they began. An
    # optimizer of somebody's own may not be made again from its config.
    own = not type(inner).__module__.startswith("keras.")
    if own or not any(np.all(value == value.reshape(-1)[:1]) for value in values.values()):
        return False
    first = _first_slots(inner, variable)
    return bool(first) and all(np.array_equal(values[name], value) for name, value in first.items())


def _first_slots(inner: Any, variable: Any) -> dict[str, Any]:
    """Return what the slots of a variable begin with, but for those that begin as the variable itself."""
    new = type(inner).from_config(inner.get_config())
    new.build([variable])
    itself = _array(variable)
    (held,) = optimizer.slots(new)
    first = {name: _array(slot) for name, slot in held.items() if name not in _NO_EVIDENCE}
    return {
        name: value for name, value in first.items() if not (np.any(value) and np.array_equal(value, itself))
    }


def _array(variable: Any) -> Any:
    import keras

    return keras.ops.convert_to_numpy(variable)
