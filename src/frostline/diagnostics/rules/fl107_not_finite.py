"""FL107: a loss or a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from frostline.diagnostics import remedies
from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.explanation import placed
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments
from frostline.errors import listed


class NotFiniteNumbers(AuditRule):
    """Loss or gradient not finite.

    What it does:
        Finds NaN and infinity in the loss and in the gradients on this batch, and goes back to where they
        begin: the data, a weight, or the first operation, forwards or backwards, that made them of finite
        numbers, with what went into it.

    Why it matters:
        The first step makes every weight behind it NaN, and no later step mends it. Nothing warns: training
        goes on, and a NaN compares as unequal to everything, so that callbacks wait for ever.

    Example:
        keras.layers.Lambda(lambda x: keras.ops.log(x))

    Use instead:
        keras.layers.Lambda(lambda x: keras.ops.log(keras.ops.maximum(x, 1e-7)))
    """

    code, name, severity = "FL107", "not-finite", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the model."""
        found, measured = inspection.not_finite, inspection.measured
        if found is None or measured is None:
            return
        bad = [address for address, status in inspection.statuses.items() if status == "not_finite"]
        what = (
            f"the gradient with respect to {listed(bad, most=4)}" if bad else f"the loss, {measured.loss:g},"
        )
        scale = inspection.overflowing_scale
        by_scale = f" with a loss scale of {scale:.3g}, which half precision does not hold" if scale else ""
        lower = "give the optimizer a lower initial_scale, such as the default, 2.0**15"
        yield self.finding(
            bad[0] if bad else "",
            f"{what} is not finite on this batch{by_scale}: {placed(found)}",
            lower if scale else remedies.of_not_finite(found),
            where=found.where,
        )

    def failing(self) -> dict[str, Any]:
        """The logarithm of numbers below zero."""
        return _logarithm(lambda x: ops.log(x))

    def passing(self) -> dict[str, Any]:
        """The same, kept above zero."""
        return _logarithm(lambda x: ops.log(ops.maximum(x, 1e-7)))


def _logarithm(function: Any) -> dict[str, Any]:
    hidden = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(-1.0), name="hidden")
    return arguments(keras.Sequential([keras.Input((3,)), hidden, keras.layers.Lambda(function, name="log")]))
