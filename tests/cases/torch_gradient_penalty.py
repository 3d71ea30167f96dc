"""A penalty on a gradient trains with `create_graph=True`, and not without."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kept": "trains", "forgotten": ("cut", "detached"), "scale": "trains"}
OPERATION = "grad"


def case():
    kept, forgotten, scale = values = [torch.nn.Parameter(torch.full((3,), 0.5)) for _ in EXPECT]

    def loss():
        x = torch.ones(3, requires_grad=True)
        (first,) = torch.autograd.grad((x * kept).square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((x * forgotten).square().sum(), x)  # cut
        return (first.square() + second.square() + scale).sum()

    return loss, dict(zip(EXPECT, values, strict=True))
