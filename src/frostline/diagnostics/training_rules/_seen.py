"""What several rules ask of a record."""

from __future__ import annotations

import math

from frostline.diagnostics.thresholds import SOLVED
from frostline.diagnostics.watched import Watched


def is_solved(watched: Watched) -> bool:
    """Whether the loss came to next to nothing: then gradients of zero are as they should be."""
    if not watched.looks:
        return False
    first, last = watched.looks[0].loss, watched.looks[-1].loss
    return math.isfinite(last) and abs(last) <= SOLVED * max(abs(first), SOLVED)


def is_finite(watched: Watched) -> bool:
    """Whether the last look showed numbers; else it says nothing of units."""
    return not watched.looks or math.isfinite(watched.looks[-1].gradient_norm)
