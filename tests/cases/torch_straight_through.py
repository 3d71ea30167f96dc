"""The remedy for `round`, its value forwards and a gradient of one backwards; quotients that round or not."""

import torch

BACKENDS = ("torch",)
EXPECT = {
    "straight": "trains",
    "floored": ("cut", "not_differentiable"),
    "remainder": "trains",
    "fractional": "trains",
    "numerator": "trains",
    "sign": ("cut", "not_differentiable"),
}


def case():
    names = list(EXPECT)
    straight, floored, remainder, fractional, numerator, sign = values = [
        torch.nn.Parameter(torch.full((3,), 0.7)) for _ in names
    ]

    def loss():
        through = straight + (torch.round(straight) - straight).detach()
        quotient = torch.div(floored, 0.2, rounding_mode="floor")  # cut floored
        signed = torch.copysign(numerator, sign)  # cut sign
        return (through + quotient + remainder % 0.2 + torch.frac(fractional) + signed).sum()

    return loss, dict(zip(names, values, strict=True))
