"""PyTorch has no derivative of `//`, and raises."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "unregistered"), "scale": "trains"}
OPERATION = "floor_divide"
RAISES = True


def case():
    kernel, scale = (torch.nn.Parameter(torch.full((3,), 0.5)) for _ in range(2))

    def loss():
        whole = kernel // 0.2  # cut
        return (whole * scale).sum()

    return loss, {"kernel": kernel, "scale": scale}
