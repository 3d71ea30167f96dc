"""PyTorch: a layer's output is replaced by way of `.data`, which leaves no record."""

import torch

FAULT = {
    "kind": "cut",
    "backends": ["torch"],
    "statuses": {"first": "cut"},
    "symptom": {"still": ["first"]},
    "source": "own",
}
X = torch.linspace(-1, 1, 12).reshape(4, 3)


def program():
    first = torch.nn.Parameter(torch.full((3, 3), 0.3))
    head = torch.nn.Parameter(torch.ones(3))

    def loss():
        h = torch.tanh(X @ first).data  # <- here
        # mended: h = torch.tanh(X @ first)
        return (h @ head - 1).square().mean()

    return loss, {"first": first, "head": head}
