"""FL112: steps so large that training runs away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.overshoot import find_overshoot


class OvershootingSteps(AuditRule):
    """Steps are too large.

    What it does:
        Makes two steps of the optimizer on this batch, where its gradients and its rate give reason to, and
        takes them back. It is found if the first makes the loss nine times larger, and both 81 times, which
        is what steps of four times the inverse of the curvature do: training does not come back from more
        (Lewkowycz and others, 2020, arXiv:2003.02218). So is a first step that does so and moves every kernel
        by more than its own size. Of optimizers whose steps do not shrink with the
        gradient, as Adam's, only that is found: they come back from smaller ones.

    Why it matters:
        The loss explodes and ends in NaN, or in units that are off for every sample: rate, inputs, targets
        and initial weights do not suit each other.

    Example:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(np.arange(100.0)[:, None], 3 * np.arange(100.0)[:, None])

    Use instead:
        x = np.arange(100.0)[:, None] / 100
        model.fit(x, 300 * x)
    """

    code, name, severity = "FL112", "overshooting-steps", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the model."""
        if (found := find_overshoot(inspection)) is None:
            return
        before, between, after = found.losses
        lower = f" (by these figures {found.fitting_rate:.1g} or less)" if found.fitting_rate else ""
        yield self.finding(
            found.largest,
            f"the steps are too large, and training runs away: two steps of {found.optimizer} with a rate of "
            f"{found.rate:.3g} take the loss on this batch from {before:.3g} to {between:.3g} to {after:.3g}",
            f"scale inputs and targets to about 1, lower the rate{lower}, use an initializer that suits the "
            "activation (fl.recommended_initializer), or set clipnorm=1.0",
        )

    def failing(self) -> dict[str, Any]:
        """Inputs that reach to 100."""
        return _line(100.0)

    def passing(self) -> dict[str, Any]:
        """Inputs that reach to 1."""
        return _line(1.0)


def _line(most: float) -> dict[str, Any]:
    x = np.linspace(0, most, 16, dtype="float32")[:, None]
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros", name="line")]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return {"model": model, "x": x, "y": 3 * x}
