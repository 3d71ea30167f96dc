"""Which weights got a gradient, seen from what training left behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from frostline import _keras, optimizer
from frostline.resolution import Resolution
from frostline.verification import Verification

_AVERAGE = "_model_variables_moving_average"
"""Follows the weight, not its gradient."""


def without_gradient(opt: Any, resolution: Resolution, verification: Verification) -> tuple[str, ...]:
    """Return the addresses of trained weights that no gradient reached.

    A weight that did not move got none. One that did may still have been moved by weight decay alone, as JAX
    does where other backends leave it: then every slot of the optimizer that gradients fill is still zero.
    Under an optimizer without slots, and with decay, the two cannot be told apart, and the weight counts as
    reached.

    Args:
        opt: The optimizer that trained.
        resolution: What was to train.
        verification: What moved.
    """
    import keras

    unmoved = set(verification.of("unmoved"))
    inner = _keras.optimizer_chain(opt)[-1]
    if not inner.built:
        return tuple(d.weight.address for d in resolution.trained)
    slots = {
        id(variable): held
        for variable, held in zip(_keras.optimizer_targets(inner), optimizer.slots(inner), strict=True)
    }
    missing = []
    for decision in resolution.trained:
        held = [slots.get(id(variable), {}) for _, variable in decision.weight.targets]
        filled = (v for one in held for name, v in one.items() if name != _AVERAGE)
        values = [keras.ops.convert_to_numpy(slot) for slot in filled]
        empty = not any(np.any(value) for value in values)
        if empty and (values or decision.weight.address in unmoved):
            missing.append(decision.weight.address)
    return tuple(missing)
