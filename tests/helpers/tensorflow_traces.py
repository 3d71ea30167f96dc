"""What tests of the reader for TensorFlow ask."""

from __future__ import annotations

from typing import Any

import keras

from frostline.graph.reader import Argument, Computation, ReadVariable
from frostline.model.inventory import inventory


def about(model: keras.Model, x: Any, **options: Any) -> Computation:
    """The mean square of all outputs, about every weight of a model."""
    held = inventory(model)
    sources = [ReadVariable(w.address, w.variable, "weight" if w.role == "weight" else "state") for w in held]

    def loss(x: Any) -> Any:
        outputs = keras.tree.flatten(model(x, **options))
        return keras.ops.sum([keras.ops.mean(keras.ops.square(output - 0.3)) for output in outputs])

    known = {id(node.layer): node.address for node in held.layers}
    return Computation(loss, tuple(sources), (Argument(x, "input", "x"),), known)
