"""FL104: a loss that no weight changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.remedies import CONSTANT_LOSS
from frostline.errors import listed


class ConstantLoss(AuditRule):
    """Loss constant for all weights.

    What it does:
        Finds a loss that is computed from none of the weights that are to train.

    Why it matters:
        Nothing trains. TensorFlow raises "No gradients provided for any variable", PyTorch "element 0 of
        tensors does not require grad"; JAX trains nothing, silently.

    Example:
        def loss(y, predicted):
            return ops.mean(y**2)

    Use instead:
        def loss(y, predicted):
            return ops.mean((y - predicted) ** 2)
    """

    code, name, severity = "FL104", "constant-loss", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield a finding where all that is to train is unused."""
        trained = [w.address for w in inspection.weights if w.address in inspection.planned.trained]
        if trained and all(inspection.statuses[address] == "unused" for address in trained):
            yield self.finding(
                "",
                f"the loss depends on no weight that is to train ({listed(trained, most=4)})",
                "use the predictions in the loss"
                if not inspection.diagnosis.loss_is_constant
                else CONSTANT_LOSS,
            )

    def failing(self) -> dict[str, Any]:
        """The loss looks at the targets alone."""
        return _with_loss(lambda y, predicted: y**2)

    def passing(self) -> dict[str, Any]:
        """It looks at the predictions, too."""
        return _with_loss(lambda y, predicted: (y - predicted) ** 2)


def _with_loss(loss: Any) -> dict[str, Any]:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
    model.compile("sgd", loss)
    return {"model": model, "x": np.ones((4, 3), "float32"), "y": np.ones((4, 2), "float32")}
