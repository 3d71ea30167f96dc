"""`intermediates`: the gradient at the outputs of layers, and what is kept of them for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import ConsoleRenderable

from frostline.backends import dispatch
from frostline.diagnostics.layer_outputs import LayerOutputs, trace_outputs
from frostline.errors import listed
from frostline.graph.reader import norm
from frostline.model.inventory import LayerNode
from frostline.plan.plan import Plan
from frostline.render.tables import Rendered, bytes_text, table
from frostline.resolution.resolution import Resolution


@dataclass(frozen=True, slots=True)
class Intermediate:
    """The output of one layer, all its calls together.

    Attributes:
        layer: Address of the layer.
        shape: Shape of its output on this batch; of the first tensor where it has several.
        flows: Whether a gradient goes back through it to a weight that is to train.
        weights: Addresses of those weights.
        gradient_norm: Euclidean norm of the gradient of the loss by the output, on this batch; None where
            there is none.
        kept_bytes: How many bytes of it are kept for the backward pass, at most: all of it where an
            operation that is gone back through takes it, 0 elsewhere.
    """

    layer: str
    shape: tuple[int, ...]
    flows: bool
    weights: tuple[str, ...]
    gradient_norm: float | None
    kept_bytes: int


@dataclass(frozen=True)
class Intermediates(Rendered):
    """The outputs of all layers that are called, in the order of the model. Prints as a table.

    Attributes:
        model: Name of the model.
        rows: One for each layer.
    """

    model: str
    rows: tuple[Intermediate, ...]

    def __getitem__(self, layer: str) -> Intermediate:
        """Return the row of a layer; `KeyError` where none such is called."""
        return {row.layer: row for row in self.rows}[layer]

    def __iter__(self) -> Iterator[Intermediate]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (
                row.layer,
                " x ".join(map(str, row.shape)) or "scalar",
                "yes" if row.flows else "no",
                "none" if row.gradient_norm is None else f"{row.gradient_norm:.3g}",
                bytes_text(row.kept_bytes),
                listed(row.weights, most=2) if row.weights else "",
            )
            for row in self.rows
        ]
        columns = ("output of", "shape", "gradient flows", "norm", "kept", "to")
        return table(columns, rows, numbers=("norm", "kept"), title=f"Intermediates of {self.model}")


def intermediates(
    model: Any, x: Any, y: Any = None, *, plan: Plan | Resolution | None = None, loss: Any = None
) -> Intermediates:
    """Say of the output of each layer whether a gradient flows through it, to what, and how much of it.

    Args:
        model: A built `keras.Model`.
        x: One batch of inputs, as `model.fit` takes them.
        y: Its targets.
        plan: Look at the model as under this plan; else as its own flags say.
        loss: The loss, in place of the compiled one, as for `audit`.

    Returns:
        A table with a row for each layer that is called.

    Raises:
        ModelError: Not a Keras model.
        AuditError: The model has no loss, or it needs targets and there are none.

    Example:
        >>> import keras, numpy as np
        >>> hidden = keras.layers.Dense(4, name="hidden", trainable=False)
        >>> model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(2, name="head")])
        >>> model.compile("adam", "mse")
        >>> rows = intermediates(model, np.ones((4, 3)), np.zeros((4, 2)))
        >>> [(row.layer, row.flows) for row in rows]
        [('hidden', False), ('head', True)]
    """
    with trace_outputs(model, x, y, plan=plan, loss=loss) as outputs:
        gradients = dispatch.measure(outputs.without_weights()).gradients
        return Intermediates(model.name, tuple(_row(outputs, node, gradients) for node in outputs.called()))


def _row(outputs: LayerOutputs, node: LayerNode, gradients: Mapping[str, Any]) -> Intermediate:
    weights = outputs.weights_behind(node)
    norms = [n for name in outputs.probes.names(node.address) if (n := norm(gradients.get(name))) is not None]
    return Intermediate(
        node.address,
        outputs.shape(node),
        bool(weights),
        weights,
        float(np.sqrt(np.sum(np.square(norms)))) if norms else None,
        outputs.kept_bytes(node),
    )
