"""Models on several JAX processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import keras

from frostline._keras.variables import has_value
from frostline.backends.protocols import Spread

_ALL = frozenset({"fit", "schedule", "apply", "unfreeze", "verify", "fingerprint"})


def process_count() -> int:
    """Return how many processes JAX computes in."""
    return int(jax.process_count())


def spread(model: Any) -> Iterable[Spread]:
    """Return what of a model stands where this process cannot see it."""
    processes = process_count()
    distribution = keras.distribution.distribution()
    parted = any(map(_is_elsewhere, getattr(model, "variables", ())))
    if parted or (processes > 1 and isinstance(distribution, keras.distribution.ModelParallel)):
        yield Spread(
            _ALL,
            "has weights of which other JAX processes hold parts",
            f"{type(distribution).__name__ if distribution else 'sharded arrays'} over {processes} processes",
            "keep the model axis within one process (keras.distribution.DataParallel holds all weights in "
            "each), or train with model.fit and check the saved model in one process",
        )


def _is_elsewhere(variable: Any) -> bool:
    array = variable.value if has_value(variable) else None
    return isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated)
