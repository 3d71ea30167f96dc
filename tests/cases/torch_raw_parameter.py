"""Raw parameters in a loop of one's own: some train, one is frozen by its flag, one is never read."""

import torch

BACKENDS = ("torch",)
EXPECT = {"kernel": "trains", "bias": "trains", "frozen": "frozen", "late": "unused"}
X = torch.ones(2, 3)


def case():
    kernel = torch.nn.Parameter(torch.ones(3, 3))
    bias = torch.zeros(3, requires_grad=True)
    frozen = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    late = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([kernel, bias], lr=0.1)

    def loss():
        return ((X @ kernel + bias) * frozen).square().mean()

    loss().backward()
    optimizer.step()
    return loss, {"kernel": kernel, "bias": bias, "frozen": frozen, "late": late}
