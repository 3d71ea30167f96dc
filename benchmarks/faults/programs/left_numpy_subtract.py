"""A tensor minus a NumPy array, the array first: NumPy computes it, and PyTorch's record is lost."""

import numpy as np
import torch

FAULT = {
    "kind": "left framework",
    "backends": ["torch"],
    "statuses": {"w": "cut"},
    "reason": ["left_framework"],
    "symptom": {"raises|still": ["w"]},
    "source": "own",
}
X = torch.ones(4, 3)
TARGET = np.zeros((4,), "float32")


def program():
    w = torch.nn.Parameter(torch.full((3,), 0.5))

    def loss():
        gap = np.subtract(TARGET, (X @ w).detach().numpy())  # <- here
        # mended: gap = torch.as_tensor(TARGET) - X @ w
        return torch.as_tensor(gap).square().mean()

    return loss, {"w": w}
