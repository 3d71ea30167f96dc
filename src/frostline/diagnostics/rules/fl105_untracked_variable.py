"""FL105: a variable that the loss is computed from and that the model does not own."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.remedies import UNTRACKED
from frostline.errors import listed
from frostline.graph.ir import Where


class UntrackedVariable(AuditRule):
    """Variable untracked.

    What it does:
        Finds variables that the loss is computed from and that are not among the model's: a raw
        `tf.Variable` or `nn.Parameter`, a `keras.Variable` or a layer in a container that Keras does not
        look into, a layer made in `call`. JAX has no variables of its own; there a floating array counts
        that a layer of your own keeps as an attribute. A NumPy array is always a constant.

    Why it matters:
        Keras trains and saves only what it tracks. The variable keeps the value that it was made with, or is
        new at every call, and a saved model comes back without it.

    Example:
        def __init__(self):
            self.branches = SimpleNamespace(left=keras.layers.Dense(4))

    Use instead:
        def __init__(self):
            self.left = keras.layers.Dense(4)
    """

    code, name, severity = "FL105", "untracked-variable", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the variables that are read at one place."""
        groups: dict[tuple[str | None, Where | None], list[str]] = {}
        for leaf in inspection.foreign:
            groups.setdefault((leaf.layer, leaf.where), []).append(leaf.name)
        for (layer, where), names in groups.items():
            read_in = f" (read in layer {layer!r})" if layer else ""
            yield self.finding(
                names[0],
                f"the loss uses variables that the model does not track: {listed(names, most=4)}{read_in}",
                UNTRACKED,
                where=where,
            )

    def failing(self) -> dict[str, Any]:
        """A layer hides in a namespace."""
        return _hiding(True)

    def passing(self) -> dict[str, Any]:
        """It is an attribute."""
        return _hiding(False)


def _hiding(hidden: bool) -> dict[str, Any]:
    class Scaled(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__(name="scaled")
            self.dense = keras.layers.Dense(2, name="inner")
            if hidden:
                self.inside = SimpleNamespace(dense=keras.layers.Dense(2, name="hidden"))

        def build(self, input_shape: Any) -> None:
            for layer in self.branches():
                layer.build(input_shape)

        def branches(self) -> list[Any]:
            return [self.dense, self.inside.dense] if hidden else [self.dense]

        def call(self, x: Any) -> Any:
            return sum(layer(x) for layer in self.branches())

    model = keras.Sequential([keras.Input((3,)), Scaled(), keras.layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return {"model": model, "x": np.ones((4, 3), "float32"), "y": np.zeros((4, 2), "float32")}
