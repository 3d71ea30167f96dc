"""Taking every parametrization off a model, under a plan or not."""

from __future__ import annotations

import re
from typing import Any

from frostline.model.inventory import inventory
from frostline.trainability.apply import put_plan_on
from frostline.trainability.plan_on_model import resolution_on


def merge(model: Any) -> Any:
    """Take every parametrization off a model, keeping what was trained.

    A weight whose parts a plan put there is then plain and frozen, as far as that plan goes: it froze most of
    it, and a plain weight cannot train in part. All else is under the plan as before. Any other weight trains
    again if it did before it was parametrized.

    Args:
        model: A Keras model or layer; the whole one that is trained.

    Returns:
        The same model, plain.

    Raises:
        OptimizerError: The optimizer is that of another model.

    Example:
        >>> import keras
        >>> from frostline.parametrization.adapters import LowRank
        >>> from frostline.parametrization.install import parametrize
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> adapted = parametrize(model, "head/kernel", LowRank(rank=1))
        >>> [variable.name for variable in merge(model).trainable_variables]
        ['kernel', 'bias']
    """
    combined = [weight for weight in inventory(model) if weight.combination is not None]
    resolution = resolution_on(model)
    planned = [weight.address for weight in combined if weight.combination.by_plan]
    if planned and resolution is not None:
        plan = resolution.plan
        for address in planned:
            plan = plan.freeze(f"re:{re.escape(address)}")
        put_plan_on(model, plan)
    for weight in combined:
        if weight.address not in planned or resolution is None:
            weight.variable.frostline_placed.remove(keep=True)
    return model
