"""FL607: moving statistics of a normalization end far from those of the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.thresholds import DRIFT_MEAN, DRIFT_VARIANCE
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules._programs import SAMPLES, inputs
from frostline.diagnostics.watched import Watched


class StatisticsDrift(TrainingRule):
    """Statistics are far from the data's.

    What it does:
        Finds a BatchNormalization whose moving mean is a whole standard deviation from that of a batch, or
        whose moving variance is four times too large or too small, at the last look, for the median unit.

    Why it matters:
        Training normalizes by the batch, `predict` and `evaluate` by the moving statistics: what was learned
        is used on numbers that it never saw. A momentum too near to 1 for the number of steps is the usual
        reason, data that differ from batch to batch another.

    Example:
        keras.layers.BatchNormalization(momentum=0.999)  # and 100 steps

    Use instead:
        keras.layers.BatchNormalization(momentum=0.9)
    """

    code, name, severity = "FL607", "statistics-drift", "warning"

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield one finding for each layer."""
        last = watched.last
        if last is None or last.look is None:
            return
        for address, drift in last.look.drift.items():
            if drift.mean < DRIFT_MEAN and drift.variance < DRIFT_VARIANCE:
                continue
            yield self.finding(
                address,
                f"after {last.when} its moving mean is {drift.mean:.2g} standard deviations from that of a "
                f"batch, and its moving variance off by a factor of {drift.variance:.2g} (median unit)",
                "train for more steps, or set momentum=0.9; shuffle data that differ from batch to batch; "
                "freeze a pretrained layer's statistics by the plan (batchnorm)",
            )

    def failing(self) -> Program:
        """A few steps on data far from zero, with a momentum for thousands of them."""
        return _normalized(0.999)

    def passing(self) -> Program:
        """A momentum for few."""
        return _normalized(0.5)


def _normalized(momentum: float) -> Program:
    x = inputs() + 5
    norm = keras.layers.BatchNormalization(momentum=momentum, name="norm")
    model = keras.Sequential([keras.Input((3,)), norm, keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    y: Any = x.sum(axis=1, keepdims=True)
    return Program(model, x, y, {"epochs": 4, "batch_size": SAMPLES // 2})
