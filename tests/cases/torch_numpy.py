"""`.numpy()` in the loss: what comes back is a constant."""

import numpy as np
import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "left_framework"), "scale": "trains"}
OPERATION = "numpy"
X = torch.ones(2, 3)


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    scale = torch.nn.Parameter(torch.ones(()))

    def loss():
        predicted = (X @ kernel).detach().numpy()  # cut
        error = np.abs(predicted - 1.0)
        return torch.from_numpy(error).mean() * scale

    return loss, {"kernel": kernel, "scale": scale}
