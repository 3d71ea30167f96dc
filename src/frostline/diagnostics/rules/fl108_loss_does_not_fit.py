"""FL108: targets, output and loss that do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.misfits import misfits, output_layers
from frostline.errors import said


class LossDoesNotFit(AuditRule):
    """Targets, output and loss do not fit together.

    What it does:
        Compares the targets of this batch with what the model makes of it, and both with the loss: labels
        that name no class of the output, an output that is taken for probabilities and is none, one that is
        probabilities and taken for logits, a softmax of a softmax, over one unit or over the samples, an
        activation in front of the last one that keeps chances far from 0 or 1, targets that the last
        activation cannot reach, several classes in one sample under a loss for one, targets whose shape the
        loss stretches to all pairs of samples, an output that is no distribution or no rate under a loss that
        takes these alone, and a loss of your own that is the same above and below most of the targets.
        Targets that count nothing are left out, unless the backend refuses them.

    Why it matters:
        Nothing fails on most backends: JAX trains on labels that are not there, and every backend on the
        others. The loss goes down, or does not, and says nothing of what is wrong.

    Example:
        model = keras.Sequential([keras.layers.Dense(3)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy())

    Use instead:
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    """

    code, name, severity = "FL108", "loss-does-not-fit", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each."""
        if not inspection.targets:
            return
        try:
            predicted = inspection.predicted
        except Exception as error:  # of the user's `call`, where it does not train
            yield self.finding(
                "",
                f"targets were not compared with the output: the model raises where it does not train, "
                f"{said(error)}",
                "let the model be called with training=False, as predict and evaluate do",
                severity="note",
            )
            predicted = None
        layers = output_layers(inspection.model)
        addresses = {id(node.layer): node.address for node in inspection.inventory.layers}
        for one in misfits(inspection.model, inspection.targets, predicted, inspection.trace.graph):
            fact = f"output {one.output!r}: {one.fact}" if one.output else one.fact
            address = addresses.get(id(layers.get(one.output)), "")
            where = one.where
            if one.operation:
                where = inspection.called_at("", one.operation) or inspection.returned_at(address)
            yield self.finding(address, fact, one.remedy, where=where, severity=one.severity)

    def failing(self) -> dict[str, Any]:
        """Logits are taken for probabilities."""
        return _classifier(False)

    def passing(self) -> dict[str, Any]:
        """They are not."""
        return _classifier(True)


def _classifier(from_logits: bool) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    head = keras.layers.Dense(
        3, kernel_initializer=keras.initializers.Constant([[-2.0, 1.0, 2.0]] * 4), name="head"
    )
    model = keras.Sequential([keras.Input((4,)), head])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits))
    return {"model": model, "x": np.ones((6, 4), "float32"), "y": np.arange(6) % 3}
