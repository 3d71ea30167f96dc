"""Gradients over a part of a batch: what cancels over all samples does not over some of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import keras
import numpy as np

from frostline.backends import dispatch
from frostline.diagnostics.first_samples import first_samples, fixed_batch_size
from frostline.diagnostics.model_loss import ModelLoss


def sizes_over_some(loss: ModelLoss, addresses: Collection[str]) -> dict[str, float]:
    """Return the largest element of each gradient over the first samples of a batch; nothing where unknown.

    Args:
        loss: The loss on the whole batch.
        addresses: Addresses of the weights.
    """
    sizes = {len(one) for one in keras.tree.flatten(loss.x) if getattr(one, "shape", ())}
    if len(sizes) != 1 or (fewer := max(sizes) // 2) < 1 or fixed_batch_size(loss.model):
        return {}
    # An odd number of samples of two kinds never cancels.
    first = first_samples(loss.x, loss.y, loss.sample_weight, most=fewer - (fewer + 1) % 2)
    if first is None:
        return {}
    part = replace(loss, x=first[0], y=first[1], sample_weight=first[2])
    try:
        found = dispatch.measure(part.computation(addresses)).gradients
    except Exception:  # of a model for batches of this size alone: what it would be on others is not known
        return {}
    return {name: float(np.abs(one).max(initial=0)) for name, one in found.items() if one is not None}
