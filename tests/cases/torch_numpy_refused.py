"""`.numpy()` of what requires a gradient raises; the cut is named all the same."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "left_framework"), "scale": "trains"}
OPERATION = "numpy"
RAISES = True
X = torch.ones(2, 3)


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    scale = torch.nn.Parameter(torch.ones(()))

    def loss():
        predicted = (X @ kernel).numpy()  # cut
        return torch.as_tensor(predicted).mean() * scale

    return loss, {"kernel": kernel, "scale": scale}
