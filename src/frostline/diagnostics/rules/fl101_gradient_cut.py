"""FL101: a weight that is to train, and that no gradient comes back to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.explanation import Cut, Explanation
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.remedies import fact
from frostline.errors import listed


class GradientCut(AuditRule):
    """Gradient cut.

    What it does:
        Finds weights that are to train and from which the loss is computed, yet by operations that let no
        gradient back, on every route: `stop_gradient`, `round`, `argmax`, a cast to integers, NumPy. Not
        those that `add_loss` in the model's own code trains, such as the codes of a VQ-VAE.

    Why it matters:
        Such a weight never learns. TensorFlow warns of it, or raises where it is true of all weights; JAX and
        PyTorch say nothing, and weight decay may still move it.

    Example:
        def call(self, x):
            return self.head(ops.round(self.features(x)))

    Use instead:
        def call(self, x):
            h = self.features(x)
            return self.head(h + ops.stop_gradient(ops.round(h) - h))
    """

    code, name, severity = "FL101", "gradient-cut", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the weights that share their cuts."""
        groups: dict[tuple[Cut, ...], list[Explanation]] = {}
        for address, status in inspection.statuses.items():
            if status == "cut" and not inspection.moved_by_added(address):
                one = inspection.explain(address)
                groups.setdefault(one.cuts, []).append(one)
        for cuts, members in groups.items():
            why = "; ".join(f"{fact(cut.reason, cut.operation)}{_place(cut)}" for cut in cuts[:3])
            names = listed((one.address for one in members), most=4)
            where = next((cut.where for cut in cuts if cut.where), None)
            yield self.finding(
                members[0].address,
                f"no gradient reaches {names}: {why}",
                members[0].remedy,
                where=where,
            )

    def failing(self) -> dict[str, Any]:
        """The features are rounded on their way to the head."""
        return _rounded(straight_through=False)

    def passing(self) -> dict[str, Any]:
        """They are rounded straight through."""
        return _rounded(straight_through=True)


def _place(cut: Cut) -> str:
    return f" (in layer {cut.layer!r})" if cut.layer else ""


def _rounded(straight_through: bool) -> dict[str, Any]:
    x = keras.Input((3,))
    features = keras.layers.Dense(4, name="features")(x)
    rounded = ops.round(features)
    if straight_through:
        rounded = features + ops.stop_gradient(rounded - features)
    model = keras.Model(x, keras.layers.Dense(2, name="head")(rounded))
    model.compile("sgd", "mse")
    return {"model": model, "x": np.ones((4, 3), "float32"), "y": np.zeros((4, 2), "float32")}
