"""FL302: an optimizer that was built without a weight that is to train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed


class OptimizerLacksWeight(AuditRule):
    """Optimizer lacks a weight.

    What it does:
        Finds weights that are to train and that the optimizer, built already, does not know.

    Why it matters:
        The next `fit` raises "Unknown variable", on every backend, also after compiling again with the same
        optimizer object.

    Example:
        model.get_layer("features").trainable = True
        model.compile(model.optimizer, "mse")

    Use instead:
        fl.fit(model, fl.Plan(default="train"), x, y)
    """

    code, name, severity = "FL302", "optimizer-lacks-weight", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all of them."""
        if inspection.planned.resolution is not None or inspection.in_optimizer is None:
            return
        missing = [
            a
            for a in inspection.statuses
            if a in inspection.planned.trained and a not in inspection.in_optimizer
        ]
        if missing:
            yield self.finding(
                missing[0],
                f"the optimizer was built without {listed(missing, most=4)}",
                "compile with a new optimizer, or use fl.apply or fl.fit, which give it slots for what "
                "joins and keep those that it has",
            )

    def failing(self) -> dict[str, Any]:
        """A layer is unfrozen, and the model compiled with the optimizer that it had."""
        model = two_layers(trainable=False)
        found = arguments(model, trained=True)
        model.get_layer("features").trainable = True
        model.compile(model.optimizer, "mse")
        return found

    def passing(self) -> dict[str, Any]:
        """It is compiled with a new one."""
        model = two_layers(trainable=False)
        arguments(model, trained=True)
        model.get_layer("features").trainable = True
        return arguments(model)
