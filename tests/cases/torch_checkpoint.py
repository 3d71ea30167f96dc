"""Checkpointed parts are entered."""

import torch
from torch.utils.checkpoint import checkpoint

BACKENDS = ("torch",)
EXPECT = {
    "first": "trains",
    "second": "trains",
    "rounded": ("cut", "not_differentiable"),
}
X = torch.ones(2, 3)


def case():
    first, second, rounded = values = [torch.nn.Parameter(torch.full((3,), 0.5)) for _ in EXPECT]

    def loss():
        hidden = checkpoint(
            lambda x: x * second + torch.round(rounded),  # cut rounded
            X * first,
            use_reentrant=False,
        )
        return hidden.mean()

    return loss, dict(zip(EXPECT, values, strict=True))
