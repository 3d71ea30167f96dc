"""Models of a distribution strategy of TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from frostline._keras.variables import has_value
from frostline.backends.protocols import Spread

_CHANGING = frozenset({"fit", "schedule", "apply", "unfreeze"})
_ONE_PROCESS = (tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)


def spread(model: Any) -> Iterable[Spread]:
    """Return what a strategy makes of a model."""
    values = [v.value for v in getattr(model, "variables", ()) if has_value(v)]
    made_in = next((s for s in map(_strategy_of, values) if s is not None), None)
    here = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    if made_in is None and here is None:
        return
    name = type(made_in or here).__name__
    if made_in is not None and not isinstance(made_in, _ONE_PROCESS):
        yield Spread(
            _CHANGING | {"verify"},
            f"was made under {name}, which other processes have a part in",
            f"a model of {name}",
            "use tf.distribute.MirroredStrategy, or none; or train with model.fit and check the saved model "
            "in one process",
        )
    elif made_in is not here:
        yield _outside(made_in, here)
    if here is not None:
        yield Spread(
            frozenset({"schedule"}),
            f"is computed by {name}",
            f"a plan with multipliers, or several plans, under {name}",
            "give one plan without multipliers at a time, to a compiled model that has not trained yet; or "
            "make the model outside the strategy",
        )
    if any(not _alike(value) for value in values):
        yield Spread(
            _CHANGING | {"verify", "fingerprint"},
            "holds other numbers on one device than on another",
            f"copies of one weight that differ, under {name}",
            "load the saved model anew, and see what assigns to single copies",
        )


def _outside(made_in: Any, here: Any) -> Spread:
    if made_in is None:
        return Spread(
            _CHANGING,
            f"was made outside the scope of {type(here).__name__} that this call stands in",
            "a model without a strategy, inside a scope",
            "make and compile the model in the scope, or call this outside of it",
        )
    return Spread(
        _CHANGING,
        f"was made under {type(made_in).__name__}, and this call stands outside its scope",
        "a call outside of `with strategy.scope():`",
        "with strategy.scope(): call this there, where the model was made and compiled",
    )


def _strategy_of(value: Any) -> Any:
    """Return the strategy that a variable was made under, None for that of a single device."""
    strategy = getattr(value, "distribute_strategy", None)
    is_plain = strategy is None or not hasattr(value, "values")
    return None if is_plain else strategy


def _alike(value: Any) -> bool:
    copies = [one.numpy() for one in getattr(value, "values", ())] if hasattr(value, "values") else []
    return all(np.array_equal(copies[0], one, equal_nan=one.dtype.kind in "fc") for one in copies[1:])
