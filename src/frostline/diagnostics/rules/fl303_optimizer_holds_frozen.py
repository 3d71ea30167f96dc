"""FL303: an optimizer that holds slots for frozen weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed
from frostline.optimizers.memory import slot_bytes
from frostline.render.tables import bytes_text


class OptimizerHoldsFrozen(AuditRule):
    """Optimizer holds slots of frozen weights.

    What it does:
        Finds frozen weights that the optimizer was built with.

    Why it matters:
        Adam keeps two numbers for each of theirs. With `use_ema=True`, and on every backend, the next `fit`
        fails, since the averages no longer fit the list of what trains.

    Example:
        model.fit(x, y)
        backbone.trainable = False
        model.compile(model.optimizer, "mse")

    Use instead:
        fl.fit(model, fl.Plan().train("head/**"), x, y)
    """

    code, name, severity = "FL303", "optimizer-holds-frozen", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all of them."""
        if inspection.planned.resolution is not None or inspection.in_optimizer is None:
            return
        frozen = [
            w for w in inspection.weights if w.address in inspection.in_optimizer - inspection.planned.trained
        ]
        if not frozen:
            return
        optimizer = inspection.model.optimizer
        averages = bool(getattr(optimizer, "use_ema", False))
        size = slot_bytes(optimizer, [w.variable for w in frozen])
        what = f" ({bytes_text(size)})" if size else ""
        then = "; it averages weights, so the next fit fails" if averages else ""
        yield self.finding(
            frozen[0].address,
            f"the optimizer holds slots of frozen weights{what}: "
            f"{listed((w.address for w in frozen), most=4)}{then}",
            "compile with a new optimizer, or use fl.apply or fl.fit, which drop them",
            severity="error" if averages else None,
        )

    def failing(self) -> dict[str, Any]:
        """A layer is frozen, and the model compiled with the optimizer that it had."""
        model = two_layers()
        found = arguments(model, "adam", trained=True)
        model.get_layer("features").trainable = False
        model.compile(model.optimizer, "mse")
        return found

    def passing(self) -> dict[str, Any]:
        """It is compiled with a new one."""
        model = two_layers()
        arguments(model, "adam", trained=True)
        model.get_layer("features").trainable = False
        return arguments(model, "adam")
