"""`.detach()` and `.detach_()` on one of two branches each."""

import torch

BACKENDS = ("torch",)
EXPECT = {
    "first": ("cut", "detached"),
    "second": ("cut", "detached"),
    "both": "trains",
    "head": "trains",
}
OPERATION = "detach"
X = torch.ones(2, 3)


def case():
    first, second, both, head = (torch.nn.Parameter(torch.ones(3, 3)) for _ in range(4))

    def loss():
        hidden = (X @ first).detach()  # cut first
        other = X @ second
        other.detach_()  # cut second
        kept = X @ both
        return ((hidden + other + kept + kept.detach()) @ head).mean()

    return loss, {"first": first, "second": second, "both": both, "head": head}
