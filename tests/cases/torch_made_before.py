"""Part of the loss was computed before the function: PyTorch still knows what it came from."""

import torch

BACKENDS = ("torch",)
EXPECT = {"early": "trains", "rounded": ("cut", "not_differentiable"), "late": "trains"}
PLACED = False


def case():
    early, rounded, late = values = [torch.nn.Parameter(torch.full((3,), 0.5)) for _ in EXPECT]
    before = (early * 2.0 + torch.round(rounded)).sum()
    return lambda: before + late.sum(), dict(zip(EXPECT, values, strict=True))
