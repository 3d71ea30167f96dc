"""FL502: frozen layers that backpropagation must cross all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed
from frostline.graph.ir import Node


class FrozenCrossed(AuditRule):
    """Frozen part that backpropagation crosses.

    What it does:
        Finds frozen layers that lie between a weight that trains and the loss.

    Why it matters:
        A frozen layer costs no backward pass only where nothing below it trains. Here its operations are
        kept, and gone back through, for the sake of the weights below; anything trained at the bottom of a
        deep network needs at least two thirds of what training all of it takes.

    Example:
        fl.Plan().train("layer:embeddings").train("layer:head")  # the blocks between are frozen

    Use instead:
        fl.Plan().train("layer:head")
    """

    code, name, severity = "FL502", "frozen-crossed", "note"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all such layers."""
        nodes = inspection.trace.graph.nodes
        way = [node for index in inspection.backward if isinstance(node := nodes[index], Node)]
        crossed = Counter(n.layer for n in way if n.layer and n.layer in inspection.holding_frozen)
        if crossed:
            steps = sum(crossed.values())
            yield self.finding(
                next(iter(crossed)),
                f"the gradient crosses frozen layers on its way to what trains below them: {steps:,} of the "
                f"{len(way):,} operations in the backward pass ({listed(crossed, most=4)})",
                "freeze what lies below as well, if it need not train; fl.what_if shows what that would save",
            )

    def failing(self) -> dict[str, Any]:
        """The first layer trains, the one above it is frozen."""
        model = two_layers()
        model.get_layer("head").trainable = False
        return arguments(model)

    def passing(self) -> dict[str, Any]:
        """The first layer is frozen."""
        model = two_layers()
        model.get_layer("features").trainable = False
        return arguments(model)
