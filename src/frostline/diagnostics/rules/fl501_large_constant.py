"""FL501: a large array that the computation captures as a constant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.graph.ir import Leaf
from frostline.render.tables import bytes_text

_MOST = 1_000_000


class LargeConstant(AuditRule):
    """Large constant captured.

    What it does:
        Finds arrays of more than 1 MB that the loss is computed from and that are neither weights nor data.

    Why it matters:
        They are copied into every compiled function, make compiling slow, and are lost on saving unless the
        code that makes them runs again.

    Example:
        def call(self, x):
            return ops.matmul(x, TABLE)  # a NumPy array of the module

    Use instead:
        def build(self, input_shape):
            self.table = self.add_weight(shape=TABLE.shape, trainable=False, name="table")
            self.table.assign(TABLE)
    """

    code, name, severity = "FL501", "large-constant", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each constant."""
        graph, reaches = inspection.trace.graph, inspection.diagnosis.flow.reaches
        for index, leaf in graph.leaves("constant"):
            if leaf.nbytes > _MOST and reaches[index]:
                yield self.finding(
                    leaf.layer or "",
                    f"a constant of {bytes_text(leaf.nbytes)} is captured{_where(leaf)}",
                    "make it a weight with trainable=False (add_weight in build), or pass it as data",
                    where=leaf.where,
                )

    def failing(self) -> dict[str, Any]:
        """The matrix is an array."""
        return _multiplied(as_weight=False)

    def passing(self) -> dict[str, Any]:
        """It is a weight that does not train."""
        return _multiplied(as_weight=True)


def _where(leaf: Leaf) -> str:
    return f" in layer {leaf.layer!r}" if leaf.layer else ""


def _multiplied(*, as_weight: bool) -> dict[str, Any]:
    matrix = np.ones((512, 600), "float32")

    class Times(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, input_shape: Any) -> None:
            if as_weight:
                self.table = self.add_weight(shape=matrix.shape, trainable=False, name="table")

        def call(self, x: Any) -> Any:
            table = self.table if as_weight else ops.convert_to_tensor(matrix)
            return ops.matmul(x, table)

    return arguments(two_layers(keras.layers.Dense(512), Times(name="times")))
