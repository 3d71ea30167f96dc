"""The loss is a Python number: nothing is left to differentiate."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "left_framework")}
OPERATION = "item"
X = torch.ones(2, 3)


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    return lambda: (X @ kernel).mean().item(), {"kernel": kernel}  # cut
