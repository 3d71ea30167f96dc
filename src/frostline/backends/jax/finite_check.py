"""Whether values are finite, found on the device without waiting for it, on JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


@jax.jit
def all_finite(values: Sequence[Any]) -> Any:
    """Return a boolean on the device: whether no value holds NaN or infinity."""
    return jnp.stack([jnp.isfinite(value).all() for value in values]).all()


def read(flags: Sequence[Any]) -> list[bool]:
    """Wait for flags and return them."""
    return [bool(flag) for flag in jax.device_get(list(flags))]
