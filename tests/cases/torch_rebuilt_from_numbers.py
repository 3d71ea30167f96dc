"""`torch.tensor` of a list of tensors reads them number by number; `torch.stack` does not."""

import torch

BACKENDS = ("torch",)
EXPECT = {"rebuilt": ("cut", "left_framework"), "stacked": "trains"}
OPERATION = "tensor"


def case():
    rebuilt, stacked = (torch.nn.Parameter(torch.full((2,), 0.5)) for _ in range(2))

    def loss():
        parts = torch.tensor([rebuilt[0], rebuilt[1]])  # cut
        return (parts * torch.stack([stacked[0], stacked[1]])).sum()

    return loss, {"rebuilt": rebuilt, "stacked": stacked}
