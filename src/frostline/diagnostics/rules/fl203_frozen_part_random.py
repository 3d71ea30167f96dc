"""FL203: dropout or noise that stays active inside a frozen part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed
from frostline.plan.plan import Plan


class FrozenPartRandom(AuditRule):
    """Dropout active in a frozen part.

    What it does:
        Finds layers inside frozen parts that draw random numbers in training: dropout, noise, augmentation.

    Why it matters:
        A frozen part is meant to give the same features for the same input. With dropout in it they are
        noisy, what is trained on top learns from less, and the features cannot be computed once and kept.
        Keras hands `training=True` down to frozen layers too.

    Example:
        backbone.trainable = False  # the Dropout inside stays active
        model.fit(x, y)

    Use instead:
        fl.fit(model, fl.Plan().train("head/**"), x, y)  # frozen parts run in inference mode
    """

    code, name, severity = "FL203", "frozen-part-random", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all such layers."""
        layers = sorted(inspection.random & inspection.inside_frozen)
        if layers:
            yield self.finding(
                layers[0],
                f"inside a frozen part, random in training: {listed(layers, most=4)}",
                "train with fl.fit, which runs frozen parts in inference mode, or call the part with "
                "training=False; if it is meant, say so in the plan: stochastic: active",
            )

    def failing(self) -> dict[str, Any]:
        """The features and what follows them are frozen by flags."""
        model = _nested()
        model.get_layer("backbone").trainable = False
        return arguments(model)

    def passing(self) -> dict[str, Any]:
        """The same by a plan."""
        return arguments(_nested(), plan=Plan().train("top/**"))


def _nested() -> Any:
    backbone = two_layers(keras.layers.Dropout(0.5, name="drop"))
    backbone.name = "backbone"
    return keras.Sequential([keras.Input((3,)), backbone, keras.layers.Dense(2, name="top")], name="model")
