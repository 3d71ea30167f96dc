"""An interval of a training, from its beginning to what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frostline.diagnostics.training_look import Trained
from frostline.diagnostics.watched import Interval, Look
from frostline.training.watch.moves import Start
from frostline.training.watch.optimizing import Optimizing


@dataclass(frozen=True, slots=True)
class Open:
    """An interval that has begun.

    Attributes:
        first: The index of the epoch.
        within: Whether it began within that epoch.
        phase: The name of the phase.
        trained: What trains in it.
        start: The values that it began with.
        steps: How many updates the optimizer had made.
    """

    first: int
    within: bool
    phase: str
    trained: Trained
    start: Start
    steps: int | None


def interval_of(
    epoch: int,
    begun: Open,
    now: Optimizing,
    steps: int | None,
    moves: Mapping[str, Any],
    look: Look | None,
    logs: Any,
) -> Interval:
    """Return what was seen from when it began until now."""
    loss = (logs or {}).get("loss")
    return Interval(
        epoch,
        begun.first,
        begun.phase,
        steps,
        now.rate,
        None if loss is None else float(loss),
        moves,
        look,
        now.strangers,
        now.lacking,
        now.may_wait,
    )
