"""`.data`, and a new parameter made from a detached tensor."""

import torch

BACKENDS = ("torch",)
EXPECT = {"read": ("cut", "detached"), "copied": ("cut", "detached"), "head": "trains"}
X = torch.ones(2, 3)


def case():
    read, copied, head = (torch.nn.Parameter(torch.ones(3, 3)) for _ in range(3))

    def loss():
        hidden = X @ read.data  # cut read
        again = torch.nn.Parameter((X @ copied).detach())
        hidden = hidden + again  # cut copied
        return (hidden @ head).mean()

    return loss, {"read": read, "copied": copied, "head": head}
