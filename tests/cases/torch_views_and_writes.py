"""Writing to tensors and their views: what was overwritten is gone, what was written counts."""

import torch

BACKENDS = ("torch",)
EXPECT = {
    "base": "trains",
    "factor": "trains",
    "written": "trains",
    "rounded": ("cut", "not_differentiable"),
    "stopped": ("cut", "detached"),
    "overwritten": "unused",
}


def case():
    names = list(EXPECT)
    base, factor, written, rounded, stopped, overwritten = values = [
        torch.nn.Parameter(torch.full((3,), 0.5)) for _ in names
    ]

    def loss():
        total = torch.zeros(4) + base[0]
        view = total[:3]
        view.mul_(factor)
        table = torch.zeros(2, 3)
        table[0] = written
        table[1] = torch.round(rounded)  # cut rounded
        plain = torch.zeros(4)
        part, again = plain[:3], plain[1:]
        part.copy_(stopped.detach())  # cut stopped
        gone = 2.0 * overwritten
        gone.zero_()
        return total.sum() + table.sum() + again.sum() + gone.sum()

    return loss, dict(zip(names, values, strict=True))
