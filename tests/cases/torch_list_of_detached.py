"""Losses gathered in a list, each without its history."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "detached"), "scale": "trains"}
OPERATION = "detach"
X = torch.ones(3, 2)


def case():
    kernel = torch.nn.Parameter(torch.ones(2, 1))
    scale = torch.nn.Parameter(torch.ones(()))

    def loss():
        losses = []
        for row in X:
            losses.append((row @ kernel).detach())  # cut
        return torch.stack(losses).mean() * scale

    return loss, {"kernel": kernel, "scale": scale}
