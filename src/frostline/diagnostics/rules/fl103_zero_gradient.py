"""FL103: a weight whose gradient is exactly zero on this batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.explanation import said_at
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.errors import listed
from frostline.graph.zero_gradient import Zeroing


class ZeroGradient(AuditRule):
    """Gradient exactly zero on this batch.

    What it does:
        Finds weights that a gradient can come back to and whose gradient is zero in every element on this
        batch, and the operation that hands back zeros.

    Why it matters:
        Nothing is wrong with the graph, yet nothing is learned: units that are off for every sample, a
        saturated sigmoid, a mask or a sample weight of zero. If another batch gives the same, it stays so.

    Example:
        keras.layers.Dense(64, activation="relu", bias_initializer=keras.initializers.Constant(-100))

    Use instead:
        keras.layers.Dense(64, activation="relu")
    """

    code, name, severity = "FL103", "zero-gradient", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all that get zeros from one operation, and one for all others."""
        causes: dict[tuple[Any, ...] | None, tuple[Zeroing | None, list[str]]] = {}
        for address, status in inspection.statuses.items():
            if status == "zero" and not inspection.moved_by_added(address):
                cause = inspection.cause_of_zero(address)
                key = (cause.fact, cause.layer, cause.where) if cause else None
                causes.setdefault(key, (cause, []))[1].append(address)
        for cause, addresses in causes.values():
            names = listed(addresses, most=4)
            what = f"the gradient with respect to {names} is zero in every element on this batch"
            yield self.finding(
                addresses[0],
                f"{what}: {said_at(cause.fact, cause.layer, cause.where)}" if cause else what,
                inspection.explain(addresses[0]).remedy,
                where=cause.where if cause else None,
            )

    def failing(self) -> dict[str, Any]:
        """The bias keeps every unit off."""
        return _relu(-100.0)

    def passing(self) -> dict[str, Any]:
        """It does not."""
        return _relu(1.0)


def _relu(bias: float) -> dict[str, Any]:
    x = keras.Input((3,))
    hidden = keras.layers.Dense(
        4,
        "relu",
        kernel_initializer="ones",
        bias_initializer=keras.initializers.Constant(bias),
        name="hidden",
    )(x)
    model = keras.Model(x, keras.layers.Dense(2, kernel_initializer="ones", name="head")(hidden))
    model.compile("sgd", "mse")
    return {"model": model, "x": np.ones((4, 3), "float32"), "y": np.zeros((4, 2), "float32")}
