"""Rows of a frozen table and of its trained part, by PyTorch's own operations.

What Keras checks around each operation takes longer than the operation, and a step takes about a millisecond.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import embedding

from frostline.elements.sets import Ids, span


def joined(ids: Any, frozen: Any, part: Any, trained: Ids) -> Any:
    """Return the rows `ids` of a table, in which those at `trained` are the rows of `part`.

    Args:
        ids: Integers of any shape; negative ones count from the end.
        frozen: The table, of shape (rows, width).
        part: The trained rows, of shape (len(trained), width).
        trained: Their places in the table, ascending.
    """
    ids = torch.where(ids < 0, ids + len(frozen), ids)
    most = len(trained) - 1
    if (whole := span(trained)) is not None:
        place = ids - whole[0]
        nearest = place.clamp(0, most)
        inside = place == nearest
    else:
        rows = torch.as_tensor(trained, dtype=ids.dtype, device=ids.device)
        nearest = torch.searchsorted(rows, ids).clamp(0, most)
        inside = rows[nearest] == ids
    if ids.device.type != "cpu":
        return torch.where(inside.unsqueeze(-1), embedding(nearest, part), embedding(ids, frozen))
    # Few ids are of trained rows, as a rule: forwards and backwards only these pass through the part. Other
    # devices would wait for how many there are.
    found = torch.nonzero(inside, as_tuple=True)
    rows = embedding(ids, frozen)
    rows[found] = embedding(nearest[found], part)
    return rows
