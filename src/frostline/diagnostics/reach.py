"""What an activation can give, and targets beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frostline.diagnostics.targets import Misfit, Target

RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, np.inf),
    "exponential": (0.0, np.inf),
    "elu": (-1.0, np.inf),
    "selu": (-1.7582, np.inf),
    "gelu": (-0.17, np.inf),
    "silu": (-0.2785, np.inf),
}
"""What an activation can give at most."""

NEAR = 1e-4
"""How far sums of probabilities in half precision are from one."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What an output can be.

    Attributes:
        activation: The last activation.
        least: The least that it can give.
        most: The most that it can give.
    """

    activation: str
    least: float
    most: float


def span(activation: str) -> str:
    """Return what an activation can give, in words."""
    least, most = RANGES[activation]
    return f"from {least:g} to {most:g}" if np.isfinite(most) else f"from {least:g} up"


def beyond_reach(target: Target, reach: Reach) -> Misfit:
    """Say that targets are beyond what the output can be."""
    return Misfit(
        target.output,
        f"targets reach from {target.values.min():.3g} to {target.values.max():.3g}, and the output, a "
        f"{reach.activation}, {span(reach.activation)}",
        "scale the targets into that range, or take an activation that reaches them (none: any number)",
    )
