"""FL604: a weight that is to train does not move any more, while others do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.thresholds import LEAST_UPDATE
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules._programs import regression, two_layers
from frostline.diagnostics.training_rules._seen import is_finite, is_solved
from frostline.diagnostics.training_rules.fl605_gradient_not_applied import not_applied
from frostline.diagnostics.watched import Interval, Watched


class WeightStopped(TrainingRule):
    """A weight stopped.

    What it does:
        Finds a weight that is to train and of which not one bit changed over the last epoch, while others
        moved, and a weight that had a gradient and has none at all any more, so that only momentum, decay
        or a penalty still moves it.

    Why it matters:
        It is trained in name alone: units died behind it, its steps are lost in rounding, or its gradient
        vanished.

    Example:
        model.compile(keras.optimizers.SGD(5.0), "mse")  # its first step switches all units off

    Use instead:
        model.compile(keras.optimizers.SGD(0.05), "mse")
    """

    code, name, severity = "FL604", "weight-stopped", "warning"

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield one finding for each weight."""
        last = watched.last
        if last is None or last.steps_are_idle or is_solved(watched) or not is_finite(watched):
            return
        others_move = any(move.ratio >= LEAST_UPDATE for move in last.moves.values())
        unapplied = set(not_applied(watched))
        for address, move in last.moves.items():
            if address in unapplied:
                continue
            still = move.stood_still and others_move
            if still or _lost_gradient(watched, last, address):
                yield self.finding(address, _fact(watched, address, last, still=still), _REMEDY)

    def failing(self) -> Program:
        """The kernel of a layer whose outputs nobody reads any more after the first step."""
        return _gated(1.0)

    def passing(self) -> Program:
        """They are read on."""
        return _gated(0.0)


class _Shut(keras.constraints.Constraint):  # type: ignore[misc]  # Keras ships no types
    """Sets a weight to zero after each step, or leaves it."""

    def __init__(self, share: float) -> None:
        self._left = 1.0 - share

    def __call__(self, weight: Any) -> Any:
        return weight * self._left


def _gated(share: float) -> Program:
    model = two_layers("tanh")
    model.layers[1].kernel.constraint = _Shut(share)
    return regression(model, keras.optimizers.SGD(0.05))


_REMEDY = (
    "see frostline.why(model, address, x, y) for what takes its gradient away; lower the learning rate where "
    "units died, raise it where steps are lost in rounding, or leave the weight out of the plan"
)


def _lost_gradient(watched: Watched, last: Interval, address: str) -> bool:
    if last.look is None or last.look.gradients.get(address) != 0:
        return False
    before = [look.gradients.get(address, 0.0) for look in watched.looks[:-1]]
    return any(size > 0 for size in before)


def _fact(watched: Watched, address: str, last: Interval, *, still: bool) -> str:
    moved = [interval for interval, move in watched.moves_of(address) if move.largest > 0]
    if not still:
        return f"its gradient has become zero for every sample looked at, after {last.when}"
    since = f"; it last moved in {moved[-1].when}" if moved else ", and did not before"
    return f"not one bit of it moved in {last.when}, in which other weights did{since}"
