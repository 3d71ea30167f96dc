"""What is only printed has no part in the loss; the numbers written in the code do not come from it."""

import torch

BACKENDS = ("torch",)
EXPECT = {"printed": "unused", "branched": "unused", "scale": "trains"}


def case():
    printed, branched, scale = (torch.nn.Parameter(torch.full((3,), 0.5)) for _ in range(3))

    def loss():
        text = f"{printed.sum().item():.2f} {float(printed.mean()):.2f}"
        assert text
        if branched.sum() > 0.0:
            return (0.25 * scale).sum() * torch.tensor(2.0)
        return scale.sum()

    return loss, {"printed": printed, "branched": branched, "scale": scale}
