"""FL602: the norm of the gradients grew beyond all bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.thresholds import EXPLODED
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules._programs import regression, two_layers
from frostline.diagnostics.watched import Look, Watched


class GradientExplodes(TrainingRule):
    """Gradients explode.

    What it does:
        Finds a norm of all gradients together that is a thousand times what it was at the first look, or not
        finite any more, on the same samples.

    Why it matters:
        Steps grow with it (of SGD) or lose their meaning (of Adam, whose averages it fills for long); the
        next stop is NaN.

    Example:
        model.compile(keras.optimizers.SGD(1.0), "mse")

    Use instead:
        model.compile(keras.optimizers.SGD(0.01, clipnorm=1.0), "mse")
    """

    code, name, severity = "FL602", "gradient-explodes", "error"

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield one finding for all weights, at the one with the largest gradient."""
        measured = [look for look in watched.looks if look.gradients]
        if len(measured) < 2 or watched.last is None:
            return
        last = measured[-1]
        # Of a schedule, a later phase has the gradients of other weights.
        first = next(look for look in measured if look.gradients.keys() == last.gradients.keys())
        if not _exploded(first, last):
            return
        yield self.finding(
            max(last.gradients, key=lambda address: _order(last.gradients[address])),
            f"the norm of all gradients went from {first.gradient_norm:.3g} to {last.gradient_norm:.3g} by "
            f"{watched.last.when}, on the same samples; it is largest here",
            "lower the learning rate, set clipnorm=1.0, and scale inputs and targets",
        )

    def failing(self) -> Program:
        """Each step overshoots."""
        return regression(two_layers("linear"), keras.optimizers.SGD(0.7), epochs=3)

    def passing(self) -> Program:
        """No step does."""
        return regression(two_layers("linear"), keras.optimizers.SGD(0.01), epochs=3)


def _exploded(first: Look, last: Look) -> bool:
    if not math.isfinite(last.gradient_norm):
        return math.isfinite(first.gradient_norm)
    return 0 < first.gradient_norm * EXPLODED <= last.gradient_norm


def _order(size: float) -> float:
    return size if math.isfinite(size) else math.inf
