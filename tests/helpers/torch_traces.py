"""What tests of the reader for PyTorch ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from frostline.graph.reader import Computation, ReadVariable


def parameter(*shape: int, value: float = 0.7) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.full(shape, value))


def asked(loss: Callable[..., Any], **variables: Any) -> Computation:
    return Computation(loss, tuple(ReadVariable(name, variable) for name, variable in variables.items()))
