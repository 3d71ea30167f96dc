"""A custom `torch.autograd.Function` whose backward multiplies by zero."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": ("cut", "zero_gradient"), "head": "trains"}
OPERATION = "Doubled"
X = torch.ones(2, 3)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2.0 * x

    @staticmethod
    def backward(ctx, gradient):
        return 0.0 * gradient


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    head = torch.nn.Parameter(torch.ones(3, 1))

    def loss():
        hidden = Doubled.apply(X @ kernel)  # cut
        return (hidden @ head).mean()

    return loss, {"kernel": kernel, "head": head}
