"""FL503: a frozen prefix that is computed again in every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments
from frostline.diagnostics.steadiness import changing_layers
from frostline.errors import UnsupportedVersionError, listed

_LEAST = 0.5
"""Share of the forward pass from which on it is worth a word."""


class PrefixCacheable(AuditRule):
    """Frozen prefix worth caching.

    What it does:
        Finds the part of the computation that depends on no weight that trains, on no randomness and on
        nothing that its layers make or assign while they are called, where it makes up at least half of the
        operations of the forward pass. It is called twice, and must give the same.

    Why it matters:
        It gives the same for the same sample in every epoch. Keras leaves its backward pass out already; the
        forward pass is repeated needlessly, and makes up most of an epoch with a frozen backbone.

    Example:
        fl.fit(model, fl.linear_probe(), x, y, epochs=20)

    Use instead:
        features = backbone.predict(x)  # once
        fl.fit(head, fl.Plan(default="train"), features, y, epochs=20)
    """

    code, name, severity = "FL503", "prefix-cacheable", "note"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the model."""
        prefix, every = inspection.prefix_layers, inspection.computing_layers
        operations = sum(every.values())
        saved = sum(prefix.values())
        if not operations or not inspection.planned.trained or len(prefix) < 2 or saved < _LEAST * operations:
            return
        if not _is_steady(inspection, prefix):
            return
        yield self.finding(
            next(iter(prefix)),
            f"the frozen prefix makes up {saved / operations:.0%} of the forward pass ({saved:,} of "
            f"{operations:,} operations) and gives the same in every epoch: {listed(prefix, most=4)}",
            "compute its output once and train the rest on that; in an epoch, that part of the forward pass "
            "is then saved",
        )

    def failing(self) -> dict[str, Any]:
        """Four frozen layers below one that trains."""
        return _tower(frozen=4)

    def passing(self) -> dict[str, Any]:
        """One frozen layer below four that train."""
        return _tower(frozen=1)


def _is_steady(inspection: Inspection, prefix: Iterable[str]) -> bool:
    """Whether the prefix gives the same twice; not where that cannot be tried."""
    try:
        changing = changing_layers(inspection.model, inspection.inventory, inspection.loss.x)
    except UnsupportedVersionError:
        raise
    except Exception:  # of the user's code; no praise without a check that could fail
        return False
    return changing.isdisjoint(prefix)


def _tower(*, frozen: int) -> dict[str, Any]:
    hidden = [keras.layers.Dense(4, "relu", name=f"hidden_{n}") for n in range(4)]
    for layer in hidden[:frozen]:
        layer.trainable = False
    return arguments(keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(2, name="head")]))
