"""A custom `torch.autograd.Function` that reads a parameter which is not among its arguments."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": "trains", "beside": ("cut", "zero_gradient")}
OPERATION = "Scaled"
X = torch.ones(2, 3)


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    beside = torch.nn.Parameter(torch.ones(3))

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * torch.tanh(beside)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * torch.tanh(beside)

    def loss():
        return Scaled.apply(X @ kernel).mean()  # cut beside

    return loss, {"kernel": kernel, "beside": beside}
