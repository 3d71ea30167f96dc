"""Keras's own random state."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from keras.src.utils import rng_utils

from frostline._keras.methods import private


def random_seed() -> int | None:
    """Return what `keras.utils.set_random_seed` was last given, or None."""
    seed: int | None = private(rng_utils, "get_random_seed")()
    return seed


def global_seed_state() -> Any:
    """Return the state variable of the generator behind random operations without a seed; None before any."""
    generator = global_state.get_global_attribute(private(seed_generator, "GLOBAL_SEED_GENERATOR"))
    return generator.state if generator is not None else None


def make_global_seed_state() -> Any:
    """Return the same, making that generator where there is none."""
    return private(seed_generator, "global_seed_generator")().state
