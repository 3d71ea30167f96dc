"""Whether values are finite, found on the device without waiting for it, on PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch


@torch.no_grad()
def all_finite(values: Sequence[Any]) -> Any:
    """Return a boolean on the device: whether no value holds NaN or infinity.

    The largest absolute value is NaN where one is, and takes one pass over the memory.
    """
    filled = [value.detach() for value in values if value.numel()]
    if not filled:
        return torch.tensor(True)
    return torch.isfinite(torch.nn.utils.get_total_norm(filled, math.inf))


def read(flags: Sequence[Any]) -> list[bool]:
    """Wait for flags and return them."""
    return [bool(flag) for flag in torch.stack(list(flags)).cpu().tolist()] if flags else []
