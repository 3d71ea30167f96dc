"""FL102: a weight that is to train, and that the loss does not depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.errors import listed


class UnusedWeight(AuditRule):
    """Weight unused.

    What it does:
        Finds weights that are to train and that never reach the loss: of a layer that is not called, or
        whose output is left out of the loss, and of what the model's own code adds by `add_loss`.

    Why it matters:
        Such a weight stays as it was initialized. On JAX its gradient is zero and not missing, so weight
        decay shrinks it anyway. Keras warns of it on TensorFlow alone.

    Example:
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(), name="scale")  # call never uses it

    Use instead:
        def call(self, x):
            return self.scale * self.dense(x)
    """

    code, name, severity = "FL102", "unused-weight", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the weights of each layer."""
        groups: dict[tuple[str, str], list[str]] = {}
        if inspection.diagnosis.loss_is_constant:
            return
        for weight in inspection.weights:
            told = inspection.statuses[weight.address] == "unused"
            if told and not inspection.moved_by_added(weight.address):
                remedy = inspection.explain(weight.address).remedy
                groups.setdefault((weight.layer, remedy), []).append(weight.address)
        for (_, remedy), addresses in groups.items():
            yield self.finding(
                addresses[0], f"the loss does not depend on {listed(addresses, most=4)}", remedy
            )

    def failing(self) -> dict[str, Any]:
        """The second output of the model is left out of the loss."""
        return _two_outputs("mse", None)

    def passing(self) -> dict[str, Any]:
        """Both outputs have a loss."""
        return _two_outputs("mse", "mse")


def _two_outputs(*losses: str | None) -> dict[str, Any]:
    x = keras.Input((3,))
    outputs = [keras.layers.Dense(2, name=name)(x) for name in ("first", "second")]
    model = keras.Model(x, outputs)
    model.compile("sgd", list(losses))
    y = np.zeros((4, 2), "float32")
    return {"model": model, "x": np.ones((4, 3), "float32"), "y": [y, y]}
