"""FL301: a training function that was compiled for other flags, or an optimizer built for other weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed
from frostline.plan.plan import Plan


class StaleFunction(AuditRule):
    """Compiled function stale.

    What it does:
        Finds weights of which the flags say one thing and the compiled training function another: flags were
        changed since, or layers were replaced and the optimizer was built for those that are gone.

    Why it matters:
        After `compile` and a first `fit`, TensorFlow goes on training what was frozen since, without a word,
        and JAX raises; PyTorch obeys, and there nothing is found. What was unfrozen since does not train on
        TensorFlow; JAX and PyTorch raise.

    Example:
        model.fit(x, y)
        model.get_layer("features").trainable = True
        model.fit(x, y)

    Use instead:
        fl.fit(model, fl.Plan().train("head/**"), x, y)
        fl.fit(model, fl.Plan(default="train"), x, y)
    """

    code, name, severity = "FL301", "stale-function", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield a finding for what is to freeze and one for what is to train."""
        stale = [address for address, status in inspection.statuses.items() if status == "stale"]
        without = "to train, and were frozen or not there when the training function was compiled"
        if inspection.strangers:
            others = listed(inspection.strangers, most=4)
            without = f"to train, and the optimizer was built for other weights ({others})"
        for trains, words in ((False, "frozen, and compiled to train"), (True, without)):
            group = [address for address in stale if (address in inspection.planned.trained) == trains]
            if group:
                yield self.finding(
                    group[0],
                    f"by their flags these weights are {words}: {listed(group, most=4)}",
                    "compile the model again with a new optimizer, or use fl.apply or fl.fit, which renew "
                    "both and keep what the optimizer knows of weights that are still there",
                )

    def failing(self) -> dict[str, Any]:
        """A layer is unfrozen after training."""
        found = arguments(two_layers(trainable=False), trained=True)
        found["model"].get_layer("features").trainable = True
        return found

    def passing(self) -> dict[str, Any]:
        """A plan does it."""
        return arguments(two_layers(trainable=False), trained=True, plan=Plan(default="train"))
