"""FL202: a frozen weight or statistic that code assigns to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments, two_layers
from frostline.errors import listed
from frostline.model.inventory import Weight
from frostline.render.tables import count


class AssignedInCall(AuditRule):
    """Frozen weight assigned to in call.

    What it does:
        Finds weights and statistics that are to stay frozen and that a forward pass in training assigns a
        value to. One finding for each layer, the outermost of which nothing trains: a teacher that follows
        its student by moving average is one finding, however many weights it has.

    Why it matters:
        No flag and no optimizer has a say in it: the weight changes whenever the layer is called. Where that
        is meant, a rule of the plan says so: `fl.Plan().assigned("scaled/**")`.

    Example:
        def call(self, x):
            self.scale.assign(ops.mean(x))
            return x * self.scale

    Use instead:
        def call(self, x, training=False):
            if training and self.trainable:
                self.scale.assign(ops.mean(x))
            return x * self.scale
    """

    code, name, severity = "FL202", "assigned-in-call", "error"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for each layer of which nothing trains, or each weight outside of such."""
        for place, addresses in self._by_place(inspection).items():
            write = inspection.written[addresses[0]]
            writer = f"the layer {write.layer!r}" if write.layer else "the model"
            what = listed(addresses, most=1) if len(addresses) < 3 else count(len(addresses), "variable")
            pattern = f"{place}/**" if place != addresses[0] else place
            yield self.finding(
                place,
                f"code of {writer} assigns to {what} here, frozen as planned",
                f"where that is meant, say so: plan.assigned({pattern!r}); else assign only where training "
                "is true and the layer is trainable",
                where=write.where,
            )

    def _by_place(self, inspection: Inspection) -> Mapping[str, Sequence[str]]:
        """Return what leaks, by the outermost layer around it of which nothing trains."""
        places: dict[str, list[str]] = {}
        for weight in inspection.inventory.of_role("weight", "statistic"):
            if inspection.statuses.get(weight.address) != "leaks":
                continue
            own = inspection.written[weight.address].layer == weight.layer
            if weight.role == "weight" or not own:  # FL201 speaks of statistics that their own layer moves
                places.setdefault(_outermost(inspection, weight), []).append(weight.address)
        return places

    def failing(self) -> dict[str, Any]:
        """The layer writes its scale whenever it is called."""
        return _scaled(always=True)

    def passing(self) -> dict[str, Any]:
        """It asks its flag first."""
        return _scaled(always=False)


def _outermost(inspection: Inspection, weight: Weight) -> str:
    layers, trained = inspection.inventory.layer_by_address, inspection.planned.trained
    parts = weight.address.split("/")
    for depth in range(1, len(parts)):
        node = layers.get("/".join(parts[:depth]))
        if node is not None and trained.isdisjoint(node.below):
            return node.address
    return weight.address


def _scaled(*, always: bool) -> dict[str, Any]:
    class Scale(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x: Any) -> Any:
            if always or self.trainable:
                self.scale.assign(ops.mean(ops.abs(x)))
            return x * self.scale

    model = two_layers(Scale(name="scaled"))
    model.get_layer("scaled").trainable = False
    return arguments(model)
