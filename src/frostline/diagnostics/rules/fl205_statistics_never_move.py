"""FL205: statistics of a normalization that trains, and that no training step updates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed


class StatisticsNeverMove(AuditRule):
    """Statistics of a training normalization never move.

    What it does:
        Finds a BatchNormalization whose scale or shift trains, that is called in a training step, and whose
        moving mean and variance this step does not write: it runs in inference mode.

    Why it matters:
        It normalizes by the statistics that it was made with, mean zero and variance one, which is no
        normalization, in training and ever after. Usually `call` passes `training=False`, or hands on a
        `training` that is None: Keras takes the mode of the model only where the argument is left out. A
        momentum of 1 does the same.

    Example:
        def call(self, x):
            return self.norm(x, training=False)

    Use instead:
        def call(self, x, training=None):
            return self.norm(x, training=training)
    """

    code, name, severity = "FL205", "statistics-never-move", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each layer."""
        layers: dict[str, list[str]] = {}
        for weight in inspection.inventory.of_role("statistic"):
            normalizes = "BatchNormalization" in weight.types and weight.layer in inspection.computing_layers
            expected = weight.address in inspection.planned.moving
            moves = weight.address in inspection.written and not _keeps_all(inspection, weight.layer)
            if normalizes and expected and not moves:
                layers.setdefault(weight.layer, []).append(weight.address)
        for layer, addresses in layers.items():
            if _keeps_all(inspection, layer):
                yield self.finding(
                    layer,
                    f"it trains, and a momentum of 1 keeps {listed(addresses, most=3)} as they are",
                    "give it a momentum below 1, such as the default, 0.99",
                )
                continue
            yield self.finding(
                layer,
                f"it trains, and no training step updates {listed(addresses, most=3)}: it runs in inference "
                "mode",
                "hand `training` on in call, to this layer too; or freeze it, if it is meant to stay as it "
                f"is: plan.freeze('layer:{layer}')",
                where=inspection.called_at(layer),
            )

    def failing(self) -> dict[str, Any]:
        """It is called in inference mode."""
        return arguments(two_layers(_Normalizing(False, name="block")))

    def passing(self) -> dict[str, Any]:
        """It is called in training mode."""
        return arguments(two_layers(_Normalizing(True, name="block")))


def _keeps_all(inspection: Inspection, address: str) -> bool:
    layer = next(node.layer for node in inspection.inventory.layers if node.address == address)
    return bool(getattr(layer, "momentum", 0) == 1)


class _Normalizing(keras.Layer):  # type: ignore[misc]  # Keras ships no types
    def __init__(self, mode: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self.mode, self.norm = mode, keras.layers.BatchNormalization(name="norm")

    def build(self, shape: Any) -> None:
        self.norm.build(shape)

    def call(self, x: Any) -> Any:
        return self.norm(x, training=self.mode)
