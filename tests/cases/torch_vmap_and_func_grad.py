"""Operations inside `vmap` and inside `torch.func.grad`."""

import torch

BACKENDS = ("torch",)
EXPECT = {
    "mapped": "trains",
    "rounded": ("cut", "not_differentiable"),
    "chosen": ("cut", "integer"),
    "differentiated": "trains",
}
ROWS = torch.ones(4, 3)


def case():
    names = list(EXPECT)
    mapped, rounded, chosen, differentiated = values = [
        torch.nn.Parameter(torch.full((3,), 0.5)) for _ in names
    ]

    def row_loss(row):
        place = torch.argmax(row * chosen)  # cut chosen
        return (row * mapped).sum() + torch.round(row * rounded).sum() + place  # cut rounded

    def loss():
        slope = torch.func.grad(lambda x: (x * differentiated).square().sum())(ROWS[0])
        return torch.vmap(row_loss)(ROWS).sum() + slope.sum()

    return loss, dict(zip(names, values, strict=True))
