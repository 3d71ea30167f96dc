"""PyTorch: a feature extractor runs under `no_grad`, and is meant to be fine-tuned."""

import torch

FAULT = {
    "kind": "cut",
    "backends": ["torch"],
    "statuses": {"features": "cut"},
    "reason": ["no_grad"],
    "symptom": {"still": ["features"]},
    "source": "own",
}
X = torch.linspace(-1, 1, 12).reshape(4, 3)


def program():
    features = torch.nn.Parameter(torch.full((3, 3), 0.3))
    head = torch.nn.Parameter(torch.ones(3))

    def loss():
        with torch.no_grad():
            # mended: with torch.enable_grad():
            h = torch.tanh(X @ features)  # <- here
        return (h @ head - 1).square().mean()

    return loss, {"features": features, "head": head}
