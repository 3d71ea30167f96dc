"""A custom `torch.autograd.Function` whose backward returns nothing."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "zero_gradient"), "head": "trains"}
OPERATION = "Doubled"
X = torch.ones(2, 3)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        return factor * x

    @staticmethod
    def backward(ctx, gradient):
        return None, None


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    head = torch.nn.Parameter(torch.ones(3, 1))

    def loss():
        hidden = Doubled.apply(X @ kernel, 2.0)  # cut
        return (hidden @ head).mean()

    return loss, {"kernel": kernel, "head": head}
