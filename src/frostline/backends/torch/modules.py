"""What PyTorch's own modules hold to be asked about."""

from __future__ import annotations

from typing import Any

import torch

from frostline.backends.variables_in import Found, Leaf


def variables_in(holder: Any) -> Found | None:
    """Return the parameters of a module by the names that it gives them; None for anything else."""
    if not isinstance(holder, torch.nn.Module):
        return None
    return Found(tuple(Leaf(name, p, p.requires_grad) for name, p in holder.named_parameters()))
