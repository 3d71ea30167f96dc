"""FL603: the loss, or a weight, grows and grows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import keras

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.thresholds import EACH_GROWTH, GROWTH, LOSS_GREW
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules._programs import regression, two_layers
from frostline.diagnostics.watched import Watched


class GrowsWithoutBound(TrainingRule):
    """The loss or a weight grows without bound.

    What it does:
        Finds a loss that is ten times what it was, and a weight that is a hundred times what it was and grew
        by half or more in each of the last epochs; also one that is not finite any more.

    Why it matters:
        Training runs away from where it began. It ends in NaN, or in numbers that are good for nothing.

    Example:
        model.compile(keras.optimizers.SGD(1.0), "mse")

    Use instead:
        model.compile(keras.optimizers.SGD(0.01), "mse")
    """

    code, name, severity = "FL603", "grows-without-bound", "error"

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield one finding for the loss, and one for each weight."""
        if watched.last is None:
            return
        when, remedy = watched.last.when, "lower the learning rate, or set clipnorm=1.0"
        reported, seen = _reported(watched), [look.loss for look in watched.looks]
        # The first steps of a new optimizer spoil a model that fits already; later ones mend it.
        mends = bool(reported) and bool(seen) and seen[-1] < reported[-1]
        for losses in (reported, [] if mends else seen):
            if _grew(losses):
                fact = f"the loss went from {_least(losses):.3g} to {losses[-1]:.3g} by {when}"
                finite = math.isfinite(losses[-1])
                more = "; nothing need be done where the loss was changed on purpose" if finite else ""
                yield self.finding("", fact, remedy + more, severity="warning" if finite else "error")
                break
        for address in watched.last.moves:
            sizes = _sizes(watched, address)
            if _runs_away(sizes):
                fact = f"the weight went from {sizes[0]:.3g} to {sizes[-1]:.3g} by {when} (root mean square)"
                yield self.finding(address, fact, remedy)

    def failing(self) -> Program:
        """Each step overshoots."""
        return regression(two_layers("linear"), keras.optimizers.SGD(0.7), epochs=3)

    def passing(self) -> Program:
        """No step does."""
        return regression(two_layers("linear"), keras.optimizers.SGD(0.01), epochs=3)


def _reported(watched: Watched) -> list[float]:
    return [one.loss for one in watched.of_last_phase if one.loss is not None]


def _grew(losses: Sequence[float]) -> bool:
    """Whether a loss of one sign, which one that counts down without end has not, is ten times its least."""
    if len(losses) < 2 or not math.isfinite(losses[0]):
        return False
    if not math.isfinite(losses[-1]):
        return True
    least = _least(losses)
    return 0 < least * LOSS_GREW <= losses[-1]


def _least(losses: Sequence[float]) -> float:
    return min(filter(math.isfinite, losses[:-1]))


def _sizes(watched: Watched, address: str) -> list[float]:
    moves = [move for _, move in watched.moves_of(address)]
    return [moves[0].before, *(move.size for move in moves)]


def _runs_away(sizes: Sequence[float]) -> bool:
    if not math.isfinite(sizes[-1]):
        return math.isfinite(sizes[0])
    # What begins at zero, as biases do, is held against one.
    begun = sizes[0] or 1.0
    if sizes[-1] < max(GROWTH * begun, 1.0):  # small ones grow to a usual size
        return False
    latest = sizes[-4:] if len(sizes) > 3 else sizes[1:]
    growing = [later >= EACH_GROWTH * earlier for earlier, later in pairwise(latest)]
    return all(growing) and (bool(growing) or sizes[-1] >= GROWTH**2 * begun)
