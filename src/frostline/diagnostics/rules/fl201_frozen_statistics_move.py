"""FL201: statistics of a layer whose weights are frozen, and that move all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed


class FrozenStatisticsMove(AuditRule):
    """Frozen layer's statistics move.

    What it does:
        Finds moving statistics that a step of training writes to although all weights of their layer are
        frozen. The usual case is a BatchNormalization of which only gamma and beta are frozen.

    Why it matters:
        The layer's output at inference changes with every step, so the "frozen" part is not what was saved
        before. Setting the flags of gamma and beta does not touch the moving mean and variance; only the
        layer's own flag puts it into inference mode.

    Example:
        norm.gamma.trainable = False
        norm.beta.trainable = False

    Use instead:
        norm.trainable = False  # or fl.Plan().freeze("layer:norm")
    """

    code, name, severity = "FL201", "frozen-statistics-move", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each layer."""
        layers: dict[str, list[str]] = {}
        for weight in inspection.inventory.of_role("statistic"):
            leaks = inspection.statuses.get(weight.address) == "leaks"
            # What other code than its layer's assigns is FL202's.
            if leaks and inspection.written[weight.address].layer == weight.layer:
                layers.setdefault(weight.layer, []).append(weight.address)
        for layer, addresses in layers.items():
            yield self.finding(
                layer,
                f"the weights of this layer are frozen, and training moves {listed(addresses, most=3)}",
                f"freeze the layer and not its weights: plan.freeze('layer:{layer}'), or the layer's flag; "
                f"if its code writes them in any mode, and is meant to: plan.assigned({addresses[0]!r})",
                where=inspection.written[addresses[0]].where,
            )

    def failing(self) -> dict[str, Any]:
        """Gamma and beta are frozen by their own flags."""
        model = _normalized()
        norm = model.get_layer("norm")
        norm.gamma.trainable = norm.beta.trainable = False
        return arguments(model)

    def passing(self) -> dict[str, Any]:
        """The layer is frozen."""
        model = _normalized()
        model.get_layer("norm").trainable = False
        return arguments(model)


def _normalized() -> Any:
    return two_layers(keras.layers.BatchNormalization(name="norm"))
