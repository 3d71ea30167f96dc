"""FL402: a model that behaves otherwise when it is made again from its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.config_round_trip import SAME
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed


class ConfigIncomplete(AuditRule):
    """Constructor argument that get_config drops.

    What it does:
        Makes a copy of a model that holds custom layers from its configuration, gives it the same weights,
        and compares the outputs of both on this batch, in inference mode. Variables that the model holds and
        does not track get the same values, too. A model that gives something else at each call is let be.

    Why it matters:
        A saved model is made again from its configuration. An argument that `get_config` does not return
        takes its default, and the loaded model computes something else, without a word. Where the copy
        cannot be made at all, or has other weights, loading fails: only a warning.

    Example:
        class Scale(keras.layers.Layer):
            def __init__(self, factor=1.0, **kwargs):
                super().__init__(**kwargs)
                self.factor = factor

    Use instead:
        class Scale(keras.layers.Layer):
            def __init__(self, factor=1.0, **kwargs):
                super().__init__(**kwargs)
                self.factor = factor

            def get_config(self):
                return {**super().get_config(), "factor": self.factor}
    """

    code, name, severity = "FL402", "config-incomplete", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the model."""
        if not inspection.custom_layers:
            return
        classes = listed(sorted({type(node.layer).__name__ for node in inspection.custom_layers}), most=4)
        remedy = f"let get_config return every argument of __init__; look at {classes}"
        if inspection.round_trip.error:
            # Loading will say so itself: nothing goes wrong silently.
            fact = f"the model cannot be rebuilt from its configuration: {inspection.round_trip.error}"
            yield self.finding("", fact, remedy, severity="warning")
        elif not inspection.round_trip.fits:
            fact = "rebuilt from its configuration, the model has other weights, so its file cannot be loaded"
            yield self.finding("", fact, remedy, severity="warning")
        elif (difference := inspection.round_trip.difference) > SAME:
            yield self.finding(
                "",
                "rebuilt from its configuration, and with the same weights, the model gives other outputs "
                f"(they differ by {difference:.2g} of their size)",
                remedy,
            )

    def failing(self) -> dict[str, Any]:
        """The factor is not in the configuration."""
        return _scaled(complete=False)

    def passing(self) -> dict[str, Any]:
        """It is."""
        return _scaled(complete=True)


def _scaled(*, complete: bool) -> dict[str, Any]:
    class Scale(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **({"factor": self.factor} if complete else {})}

    found = arguments(two_layers(Scale(3.0, name="scaled")))
    return {**found, "x": np.ones((4, 3), "float32")}
