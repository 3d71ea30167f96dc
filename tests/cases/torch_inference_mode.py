"""The whole forward pass in `torch.inference_mode()`."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "no_grad"), "scale": "trains"}
X = torch.ones(2, 3)


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    scale = torch.nn.Parameter(torch.ones(()))

    def loss():
        with torch.inference_mode():
            predicted = X @ kernel  # cut
        return predicted.clone().mean() * scale

    return loss, {"kernel": kernel, "scale": scale}
