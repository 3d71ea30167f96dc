"""Which functions of PyTorch cut a gradient: the reader against PyTorch's own gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("reads PyTorch's record", allow_module_level=True)

import torch
from torch.nn import functional

from frostline.backends.dispatch import measure, trace
from helpers.torch_traces import asked, parameter
from helpers.traces import standings

pytestmark = pytest.mark.every_backend

BY_NAME = (
    "abs",
    "acos",
    "argmax",
    "argmin",
    "asin",
    "asinh",
    "atan",
    "bernoulli",
    "ceil",
    "clone",
    "cos",
    "count_nonzero",
    "deg2rad",
    "detach",
    "diff",
    "digamma",
    "erf",
    "erfinv",
    "exp",
    "expm1",
    "fix",
    "floor",
    "frac",
    "isfinite",
    "isnan",
    "lgamma",
    "log",
    "log1p",
    "logical_not",
    "logit",
    "mean",
    "nan_to_num",
    "neg",
    "norm",
    "ones_like",
    "poisson",
    "positive",
    "prod",
    "relu",
    "round",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sqrt",
    "square",
    "std",
    "sum",
    "tan",
    "tanh",
    "trunc",
    "var",
    "zeros_like",
)


FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    **{name: getattr(torch, name) for name in BY_NAME},
    "round to decimals": lambda x: torch.round(x, decimals=1),
    "div floor": lambda x: torch.div(x, 0.2, rounding_mode="floor"),
    "div trunc": lambda x: torch.div(1.0, x, rounding_mode="trunc"),
    "div plain": lambda x: torch.div(x, 0.2, rounding_mode=None),
    "remainder": lambda x: torch.remainder(x, 0.2),
    "remainder of": lambda x: torch.remainder(torch.ones(3), x),
    "copysign": lambda x: torch.copysign(x, -torch.ones(3)),
    "copysign of": lambda x: torch.copysign(torch.ones(3), x),
    "fill": lambda x: x.clone().fill_(1.0),
    "zero": lambda x: x.clone().zero_(),
    "copy to": lambda x: x.clone().copy_(torch.ones(3)),
    "copy from": lambda x: torch.ones(3).copy_(x),
    "normal": lambda x: x.clone().normal_(),
    "uniform": lambda x: x.clone().uniform_(),
    "exponential": lambda x: x.clone().exponential_(),
    "masked fill": lambda x: x.masked_fill(torch.tensor([True, False, False]), 0.0),
    "set item": lambda x: torch.zeros(4).index_put((torch.tensor([1, 2, 3]),), x),
    "to integer": lambda x: (9.0 * x).to(torch.int32),
    "to double": lambda x: x.double(),
    "compare": lambda x: x > 0.5,
    "choose": lambda x: torch.where(x > 0.6, x, 0.1 * x),
    "condition": lambda x: torch.where(x > 0.6, torch.ones(3), torch.zeros(3)),
    "gather": lambda x: x[torch.tensor([2, 0])],
    "index": lambda x: torch.ones(9)[(9 * x).long()],
    "top k": lambda x: torch.topk(x, 2)[0],
    "top k places": lambda x: torch.topk(x, 2)[1],
    "sort": lambda x: torch.sort(x)[0],
    "maximum": lambda x: torch.maximum(x, torch.full((3,), 0.6)),
    "amax": lambda x: x.amax(),
    "clamp": lambda x: x.clamp(0.0, 1.0),
    "softmax": lambda x: functional.softmax(x, 0)[:2],
    "gumbel": lambda x: functional.gumbel_softmax(x, hard=True)[:1],
    "dropout": lambda x: functional.dropout(x, 0.1),
    "pool": lambda x: functional.max_pool1d(x[None, None], 2),
    "norm": lambda x: functional.layer_norm(torch.cat([x, 2.0 * x]), (6,))[:1],
    "one hot": lambda x: functional.one_hot(x.argmax(), 3),
    "quantize": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255),
    "split": lambda x: torch.stack(list(x.unbind())[:2]),
    "new": lambda x: x.new_zeros(3) + x.new_tensor([1.0, 2.0, 3.0]),
    "complex": lambda x: torch.sgn(torch.complex(x, 2.0 * x)).real,
    "search": lambda x: torch.searchsorted(x, torch.ones(3)),
    "histogram": lambda x: torch.histc(x),
    "svd": lambda x: torch.linalg.svdvals(torch.outer(x, x) + torch.eye(3)),
    "fft": lambda x: torch.fft.fft(x).abs(),
    "numpy": lambda x: torch.from_numpy(x.detach().numpy() * 2.0),
    "through dlpack": lambda x: torch.from_dlpack(x.detach()),
}
"""Functions of three numbers between 0 and 1, in no special order."""


def computed(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The sum of the results with different weights, so that no gradient cancels."""
    result = function(x)
    result = result.double() if not result.is_floating_point() else result
    return (result.flatten() * torch.arange(1.0, result.numel() + 1.0)).sum()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_cut_where_its_gradient_is_nothing_or_zero(name: str) -> None:
    kernel, other = torch.nn.Parameter(torch.tensor([0.31, 0.82, 0.57])), parameter(3)
    computation = asked(
        lambda: computed(FUNCTIONS[name], 1.0 * kernel) + other.sum(), kernel=kernel, other=other
    )
    standing = standings(trace(computation))
    gradient = measure(computation).gradients["kernel"]
    assert standing["other"] == "trains"
    assert (standing["kernel"] == "trains") == (gradient is not None and bool(gradient.any()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_cut_is_still_followed(name: str) -> None:
    """Behind a cut PyTorch's record says nothing; the values are followed all the same."""
    kernel, other = torch.nn.Parameter(torch.tensor([0.31, 0.82, 0.57])), parameter(3)

    def loss() -> Any:
        return computed(FUNCTIONS[name], 1.0 * kernel.detach()) + other.sum()

    through = standings(trace(asked(lambda: computed(FUNCTIONS[name], 1.0 * kernel), kernel=kernel)))
    seen = trace(asked(loss, kernel=kernel, other=other))
    expected = "unused" if through["kernel"] == "unused" else "cut"
    assert standings(seen) == {"kernel": expected, "other": "trains"}
