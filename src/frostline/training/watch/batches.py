"""A batch of the training data to look at again and again, without taking one from training."""

from __future__ import annotations

from typing import Any

from frostline.diagnostics.first_samples import first_samples, fixed_batch_size

SAMPLES = 32
"""How many samples are looked at."""

MORE_SAMPLES = 256
"""On how many a unit must be out of use to be called dead alone."""

Batch = tuple[Any, Any, Any]


def batch_of(model: Any, data: Batch, most: int) -> Batch | None:
    """Return the first samples of arrays, of tensors or of a PyDataset; None of any other source."""
    if data[0] is None:
        return None
    return first_samples(*data, most=fixed_batch_size(model) or most)
