"""FL304: weight decay on rows of a table that get no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.optimizers import compiled_optimizer, decay_of, optimizer_chain
from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.lookups import is_table


class DecayWithoutGradient(AuditRule):
    """Weight decay on rows without gradients.

    What it does:
        Finds tables whose rows are looked up, of an `Embedding` or of any other layer, that train under
        weight decay while this batch gives most of their rows no gradient.

    Why it matters:
        Decay and momentum do not ask for a gradient: rows of words that do not occur shrink towards zero at
        every step. Zero gradient is not frozen. Where the whole model is trained for long, that is common
        practice; where a few rows are to learn and the others to stay, it is not what was meant.

    Example:
        model.compile(keras.optimizers.AdamW(weight_decay=0.1), "mse")

    Use instead:
        fl.fit(model, fl.Plan(default="train").train("embed/embeddings", decay=0), x, y)
    """

    code, name, severity = "FL304", "decay-without-gradient", "note"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each table."""
        optimizer = compiled_optimizer(inspection.model)
        if inspection.measured is None or optimizer is None:
            return
        inner = optimizer_chain(optimizer)[-1]
        for weight in inspection.weights:
            gradient = inspection.measured.gradients.get(weight.address)
            if gradient is None or not np.any(gradient):
                continue
            decay = decay_of(inner, weight.variable) * _multiplier(inspection, weight.address)
            empty, of = _most_empty(gradient)
            if decay and empty > of // 2 and is_table(inspection.trace.graph, weight.address):
                yield self.finding(
                    weight.address,
                    f"{empty:,} of its {of:,} rows get no gradient from this batch, and weight decay of "
                    f"{decay:g} shrinks them anyway",
                    f"train it without decay: plan.train('{weight.address}', decay=0), or train only the "
                    "rows that are meant to",
                )

    def failing(self) -> dict[str, Any]:
        """Ten rows, one of which occurs."""
        return _embedded(0.1)

    def passing(self) -> dict[str, Any]:
        """The same without decay."""
        return _embedded(None)


def _most_empty(gradient: npt.NDArray[Any]) -> tuple[int, int]:
    """Return how many rows of a gradient are zero, of how many; a table may lie on its side."""
    found = [(0, 1)]
    for axis, size in enumerate(gradient.shape):
        others = tuple(one for one in range(gradient.ndim) if one != axis)
        found.append((size - int(gradient.any(axis=others).sum()), size))
    return max(found, key=lambda one: one[0] / one[1])


def _multiplier(inspection: Inspection, address: str) -> float:
    resolution = inspection.planned.resolution
    return resolution[address].decay if resolution is not None else 1.0


def _embedded(decay: float | None) -> dict[str, Any]:
    x = keras.Input((4,), dtype="int32")
    rows = keras.layers.Embedding(10, 3, name="embed")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(rows)))
    model.compile(keras.optimizers.AdamW(weight_decay=decay or 0.0), "mse")
    return {"model": model, "x": np.ones((4, 4), "int32"), "y": np.zeros((4, 2), "float32")}
