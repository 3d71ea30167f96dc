"""FL202: a frozen weight that `call` assigns to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers


class AssignedInCall(AuditRule):
    """Frozen weight assigned to in call.

    What it does:
        Finds weights that are to stay frozen and that a forward pass in training assigns a value to.

    Why it matters:
        No flag and no optimizer has a say in it: the weight changes whenever the layer is called.

    Example:
        def call(self, x):
            self.scale.assign(ops.mean(x))
            return x * self.scale

    Use instead:
        def call(self, x, training=False):
            if training and self.trainable:
                self.scale.assign(ops.mean(x))
            return x * self.scale
    """

    code, name, severity = "FL202", "assigned-in-call", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each weight."""
        for weight in inspection.weights:
            if inspection.statuses[weight.address] == "leaks":
                write = inspection.written[weight.address]
                yield self.finding(
                    weight.address,
                    f"it is to stay frozen, and layer {write.layer!r} assigns to it when it is called",
                    "assign only where training is true and the layer is trainable, or make it a statistic: "
                    "add_weight(trainable=False)",
                    where=write.where,
                )

    def failing(self) -> dict[str, Any]:
        """The layer writes its scale whenever it is called."""
        return _scaled(always=True)

    def passing(self) -> dict[str, Any]:
        """It asks its flag first."""
        return _scaled(always=False)


def _scaled(*, always: bool) -> dict[str, Any]:
    class Scale(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x: Any) -> Any:
            if always or self.trainable:
                self.scale.assign(ops.mean(ops.abs(x)))
            return x * self.scale

    model = two_layers(Scale(name="scaled"))
    model.get_layer("scaled").trainable = False
    return arguments(model)
