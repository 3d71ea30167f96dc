"""A part computed under `torch.no_grad()`: one cut, where that part is left."""

import torch

BACKENDS = ("torch",)
EXPECT = {"encoder": ("cut", "no_grad"), "scale": ("cut", "no_grad"), "head": "trains"}
X = torch.ones(2, 3)


def case():
    encoder = torch.nn.Parameter(torch.ones(3, 3))
    scale = torch.nn.Parameter(torch.ones(3))
    head = torch.nn.Parameter(torch.ones(3, 1))

    def loss():
        with torch.no_grad():
            hidden = torch.tanh(X @ encoder)
            hidden = hidden * scale  # cut
        return (hidden @ head).mean()

    return loss, {"encoder": encoder, "scale": scale, "head": head}
