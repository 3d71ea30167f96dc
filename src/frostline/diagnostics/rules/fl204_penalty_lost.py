"""FL204: a regularizer that has no effect because its weight is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed
from frostline.render.tables import count
from frostline.resolution.notes import lost_penalties


class PenaltyLost(AuditRule):
    """Regularizer lost by freezing.

    What it does:
        Finds frozen weights that have a regularizer.

    Why it matters:
        Keras leaves the penalty of a frozen weight out of the loss. The reported loss drops at the moment of
        freezing, and losses before and after cannot be compared.

    Example:
        keras.layers.Dense(64, kernel_regularizer="l2", trainable=False)

    Use instead:
        keras.layers.Dense(64, trainable=False)
    """

    code, name, severity = "FL204", "penalty-lost", "note"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all of them."""
        lost = lost_penalties(inspection.inventory, inspection.planned.trained)
        if lost:
            yield self.finding(
                lost[0],
                f"the penalties of {count(len(lost), 'frozen weight')} are not in the loss: "
                f"{listed(lost, most=4)}",
                "compare a metric, not the loss, across the moment of freezing",
            )

    def failing(self) -> dict[str, Any]:
        """A regularized layer is frozen."""
        return arguments(two_layers(kernel_regularizer="l2", trainable=False))

    def passing(self) -> dict[str, Any]:
        """It trains."""
        return arguments(two_layers(kernel_regularizer="l2"))
