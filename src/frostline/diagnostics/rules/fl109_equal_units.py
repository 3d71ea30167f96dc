"""FL109: units that begin alike and get equal gradients, so that they stay alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline._keras.variables import to_numpy
from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.equal_units import equal_units, said_of
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.kernels import is_added_to_others, is_kernel
from frostline.graph.ir import Graph
from frostline.model.inventory import Weight


class EqualUnits(AuditRule):
    """Units begin alike and stay alike.

    What it does:
        Finds units of a layer, the last axis of a kernel, that hold the same numbers and get the same
        gradient on this batch, in all kernels of the layer. Where both are zero they are left alone, and so
        are kernels of zeros whose result is added to another (LoRA). What shifts or scales, a bias of a
        recurrent layer or of attention, a table, is no kernel: equal numbers are its usual start.

    Why it matters:
        Gradient descent never tells them apart again: a layer of 256 such units can do what one can. It
        comes from kernels that all begin at one constant.

    Example:
        keras.layers.Dense(64, kernel_initializer=keras.initializers.Constant(0.01))

    Use instead:
        keras.layers.Dense(64)
    """

    code, name, severity = "FL109", "equal-units", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each kernel."""
        for weight in inspection.weights:
            if alike := _equal_units(inspection, weight):
                yield self.finding(
                    weight.address,
                    said_of(alike, weight.shape[-1]),
                    "let them begin differently, with a random kernel_initializer such as the default",
                )

    def failing(self) -> dict[str, Any]:
        """All units begin at one constant, and so does what is made from them."""
        return _two_layers(keras.initializers.Constant(0.1))

    def passing(self) -> dict[str, Any]:
        """They begin at random."""
        return _two_layers("glorot_uniform")


def _equal_units(inspection: Inspection, weight: Weight) -> int:
    gradients = inspection.measured.gradients if inspection.measured else {}
    # A step of another weight gives those a gradient that are zero at the start.
    if "Embedding" in weight.types or weight.address in inspection.starting:
        return 0
    gradient, graph = gradients.get(weight.address), inspection.trace.graph
    values = to_numpy(weight.variable)
    if not equal_units(values, gradient) or not _is_kernel(weight, graph):
        return 0
    if not values.any() and is_added_to_others(graph, weight.address):
        return 0
    units = values.shape[-1]
    own = (one for one in inspection.weights if one.layer == weight.layer and one is not weight)
    beside = [one for one in own if len(one.shape) > 1 and one.shape[-1] == units and "bias" not in one.name]
    return equal_units(values, gradient, map(to_numpy, (one.variable for one in beside)))


def _is_kernel(weight: Weight, graph: Graph) -> bool:
    # The recurrent layers of some machines take kernels and biases in one operation.
    return "bias" not in weight.name and is_kernel(graph, weight.address)


def _two_layers(initializer: Any) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    settings = {"kernel_initializer": initializer, "activation": "relu"}
    x = np.random.default_rng(0).random((8, 3)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="hidden", **settings),
            keras.layers.Dense(1, name="head", kernel_initializer=initializer),
        ]
    )
    model.compile("sgd", "mse")
    return {"model": model, "x": x, "y": np.ones((8, 1), "float32")}
