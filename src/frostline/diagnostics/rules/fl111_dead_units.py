"""FL111: most units of a layer get no gradient from any sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.explanation import said_at
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.thresholds import DEAD_SHARE, FEWEST_SAMPLES


class DeadUnits(AuditRule):
    """Most units of a layer are off.

    What it does:
        Finds an activation in the model that hands back a gradient of zero for most of its units, at least
        four of five, for every sample of a batch of eight or more: units of a ReLU that no sample switches
        on, sigmoids and tanhs that are saturated for all. It is told by the values: those on one side of a
        threshold get no gradient. Zeros of a mask (padding, the actions not taken, tasks without a label), of
        a softmax and of the loss are no dead units.

    Why it matters:
        Such a unit gets no gradient, so what is before it stays as it is, and it stays off. The layer does
        the work of the few that are left.

    Example:
        keras.layers.Dense(64, activation="relu", bias_initializer=keras.initializers.Constant(-10))

    Use instead:
        keras.layers.Dense(64, activation="relu")
    """

    code, name, severity = "FL111", "dead-units", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each layer."""
        met = set()
        for one in inspection.zeroes.found:
            most = DEAD_SHARE * one.units <= one.off < one.units and one.rows >= FEWEST_SAMPLES
            if most and one.switches and one.layer is not None and one.layer not in met:
                met.add(one.layer)
                yield self.finding(
                    one.layer,
                    said_at(one.fact, one.layer, one.where),
                    "begin with smaller biases and a suitable kernel_initializer, scale the inputs, or take "
                    "an activation that is never quite off (leaky_relu); of a trained model lower the "
                    "learning rate",
                    where=one.where,
                )

    def failing(self) -> dict[str, Any]:
        """The bias keeps all units but one off."""
        return _relu([-100.0] * 7 + [1.0])

    def passing(self) -> dict[str, Any]:
        """It keeps half of them off."""
        return _relu([-100.0, 1.0] * 4)


def _relu(biases: list[float]) -> dict[str, Any]:
    x = np.random.default_rng(0).random((16, 3)).astype("float32")
    hidden = keras.layers.Dense(8, "relu", kernel_initializer="ones", name="hidden")
    model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(2, name="head")])
    hidden.bias.assign(biases)
    model.compile("sgd", "mse")
    return {"model": model, "x": x, "y": np.zeros((16, 2), "float32")}
