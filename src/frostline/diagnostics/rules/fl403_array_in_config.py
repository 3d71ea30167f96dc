"""FL403: a large array in the configuration of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.render.tables import bytes_text

_MOST = 100_000
"""Bytes that a configuration may hold in one array."""


class ArrayInConfig(AuditRule):
    """Array in the configuration.

    What it does:
        Finds layers whose configuration holds an array of more than 100 kB, most often a matrix given as a
        `Constant` initializer.

    Why it matters:
        The configuration is saved as text: 20,000 x 50 numbers make 20 MB of JSON, beside the same numbers in
        the weights. Loading parses them again.

    Example:
        keras.layers.Embedding(20000, 50, embeddings_initializer=keras.initializers.Constant(matrix))

    Use instead:
        fl.layers.PretrainedEmbedding(matrix)  # the values travel in the weights file
    """

    code, name, severity = "FL403", "array-in-config", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each layer."""
        for node in inspection.inventory.layers:
            custom = node in inspection.custom_layers
            if isinstance(node.layer, keras.Model) or not (custom or _holds_array(node.layer)):
                continue
            try:
                size = _largest(node.layer.get_config())
            except (NotImplementedError, TypeError, ValueError):
                continue  # a layer without a configuration is another matter
            if size > _MOST:
                yield self.finding(
                    node.address,
                    f"its configuration holds an array of {bytes_text(size)}, which is saved as text",
                    "set the values after building (layer.set_weights), or use fl.layers.PretrainedEmbedding",
                )

    def failing(self) -> dict[str, Any]:
        """The matrix is the initializer."""
        return _table(in_config=True)

    def passing(self) -> dict[str, Any]:
        """It is set afterwards."""
        return _table(in_config=False)


def _holds_array(layer: Any) -> bool:
    """Whether a layer, or one of its initializers, holds a large array as it was given.

    Making every configuration takes time, and Keras loads TensorFlow for it, whatever the backend.
    """
    values = list(vars(layer).values())
    values += [value for one in values if isinstance(one, keras.Initializer) for value in vars(one).values()]
    return any(max(4 * _numbers(one), int(getattr(one, "nbytes", 0))) > _MOST for one in values)


def _largest(config: Any) -> int:
    """Bytes of the largest array in a configuration, with numbers in lists counted as four bytes each."""
    if isinstance(config, dict):
        return max(map(_largest, config.values()), default=0)
    if isinstance(config, list | tuple):
        inner = [_largest(part) for part in config if isinstance(part, dict | list | tuple)]
        return max(4 * _numbers(config), *inner) if inner else 4 * _numbers(config)
    return int(getattr(config, "nbytes", 0))


def _numbers(values: Any) -> int:
    if isinstance(values, list | tuple):
        return sum(map(_numbers, values))
    return int(isinstance(values, int | float))


def _table(*, in_config: bool) -> dict[str, Any]:
    matrix = np.ones((1000, 50), "float32")
    x = keras.Input((4,), dtype="int32")
    initializer = keras.initializers.Constant(matrix) if in_config else "uniform"
    layer = keras.layers.Embedding(1000, 50, embeddings_initializer=initializer, name="embed")
    hidden = keras.layers.Flatten()(layer(x))
    model = keras.Model(x, keras.layers.Dense(2, name="head")(hidden))
    layer.set_weights([matrix])
    model.compile("sgd", "mse")
    return {"model": model, "x": np.ones((4, 4), "int32"), "y": np.zeros((4, 2), "float32")}
