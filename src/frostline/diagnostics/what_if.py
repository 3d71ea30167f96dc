"""`what_if`: what stopping the gradient at the output of a layer would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import ConsoleRenderable

from frostline.diagnostics.layer_outputs import trace_outputs
from frostline.errors import listed
from frostline.plan.plan import Plan
from frostline.render.tables import Rendered, bytes_text, share, stacked
from frostline.resolution.resolution import Resolution


@dataclass(frozen=True)
class WhatIf(Rendered):
    """What stopping the gradient at the output of a layer would do. Prints as a short paragraph.

    Attributes:
        block: Address of the layer.
        starved: Addresses of the weights that would receive no gradient any more.
        operations: How many operations are gone back through now.
        saved_operations: How many of them would not be.
        kept_bytes: How many bytes of outputs of layers are kept for the backward pass now, at most.
        saved_bytes: How many of them would not be.
    """

    block: str
    starved: tuple[str, ...]
    operations: int
    saved_operations: int
    kept_bytes: int
    saved_bytes: int

    def __rich__(self) -> ConsoleRenderable:
        starved = listed(self.starved, most=6) if self.starved else "no weight"
        return stacked(
            f"with the gradient stopped at the output of {self.block!r}",
            f"  would get no gradient: {starved}",
            f"  backward operations saved: {self.saved_operations:,} of {self.operations:,} "
            f"({share(self.saved_operations, self.operations or 1)})",
            f"  kept for the backward pass: {bytes_text(self.saved_bytes)} less of "
            f"{bytes_text(self.kept_bytes)}, in outputs of layers",
        )


def what_if(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    block: str,
    plan: Plan | Resolution | None = None,
    loss: Any = None,
) -> WhatIf:
    """Say what stopping the gradient at the output of a layer would do: who starves, and what it saves.

    Args:
        model: A built `keras.Model`.
        x: One batch of inputs, as `model.fit` takes them.
        y: Its targets.
        block: Address of the layer, or a name that only one layer has.
        plan: Look at the model as under this plan; else as its own flags say.
        loss: The loss, in place of the compiled one, as for `audit`.

    Raises:
        ModelError: Not a Keras model, or it has no such layer.
        AuditError: The model has no loss, or it needs targets and there are none.

    Example:
        >>> import keras, numpy as np
        >>> layers = [keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2, name="head")]
        >>> model = keras.Sequential([keras.Input((3,)), *layers])
        >>> model.compile("adam", "mse")
        >>> what_if(model, np.ones((4, 3)), np.zeros((4, 2)), block="hidden").starved
        ('hidden/kernel', 'hidden/bias')
    """
    with trace_outputs(model, x, y, plan=plan, loss=loss) as now:
        node = now.inventory.find_layer(block)
        stopped = now.with_gradient_stopped_at(node)
        operations, kept = len(now.backward), now.kept_bytes_in_all()
        return WhatIf(
            node.address,
            starved=tuple(w for w in now.reachable_weights if w not in stopped.reachable_weights),
            operations=operations,
            saved_operations=operations - len(stopped.backward),
            kept_bytes=kept,
            saved_bytes=kept - stopped.kept_bytes_in_all(),
        )
