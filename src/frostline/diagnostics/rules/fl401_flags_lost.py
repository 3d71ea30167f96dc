"""FL401: trainable flags that a saved model forgets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed


class FlagsLost(AuditRule):
    """Flags that saving loses.

    What it does:
        Makes a copy of the model from its configuration, as loading a saved file does, and compares what
        trains in both.

    Why it matters:
        Keras saves the flags of layers that stand in the model's own configuration, and no others: the flag
        of a single weight, and of layers inside custom layers or MultiHeadAttention, is lost. The loaded
        model trains what was frozen.

    Example:
        model.get_layer("head").bias.trainable = False
        model.save("model.keras")

    Use instead:
        plan = fl.Plan().train("head/kernel")
        plan.save("plan.yaml")  # and fl.apply(model, Plan.load("plan.yaml")) after loading
    """

    code, name, severity = "FL401", "flags-lost", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all of them."""
        if inspection.planned.resolution is not None or len(inspection.planned.trained) == len(
            inspection.weights
        ):
            return
        copy = inspection.round_trip
        if copy.trains is None:
            return
        lost = [a for a, trains in copy.trains.items() if trains != (a in inspection.planned.trained)]
        if lost:
            yield self.finding(
                lost[0],
                f"a saved model comes back with other flags for {listed(lost, most=4)}",
                "keep the plan beside the model, and apply it after loading",
            )

    def failing(self) -> dict[str, Any]:
        """One weight is frozen."""
        model = two_layers()
        model.get_layer("head").bias.trainable = False
        return arguments(model)

    def passing(self) -> dict[str, Any]:
        """One layer is frozen."""
        model = two_layers()
        model.get_layer("features").trainable = False
        return arguments(model)
