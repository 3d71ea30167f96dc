"""`.item()`, `float()` and `.tolist()`; nothing depends on an `item` that is only printed."""

import torch

BACKENDS = ("torch",)
EXPECT = {
    "itemized": ("cut", "left_framework"),
    "asked": ("cut", "left_framework"),
    "listed": ("cut", "left_framework"),
    "scale": "trains",
}


def case():
    itemized, asked, listed, scale = (torch.nn.Parameter(torch.full((3,), 0.5)) for _ in range(4))

    def loss():
        first = (2.0 * itemized).sum().item()  # cut itemized
        second = float((2.0 * asked).sum())  # cut asked
        third = sum((2.0 * listed).tolist())  # cut listed
        return (0.1 * (first + second + third) * scale).sum()

    return loss, {"itemized": itemized, "asked": asked, "listed": listed, "scale": scale}
