"""Which penalties there are in a loss, and how much each adds."""

from __future__ import annotations

from collections.abc import Iterator

from frostline._keras.variables import read_value, to_numpy
from frostline.diagnostics.inspection import Inspection
from frostline.errors import listed


def largest_penalties(inspection: Inspection, added: float) -> list[tuple[str, float]]:
    """Return what adds to the loss beside the data, the largest first: a name and how much.

    Args:
        inspection: The model under its plan.
        added: How much all of them add together.
    """
    terms = list(_of_weights(inspection))
    rest = added - sum(size for _, size in terms)
    # A difference of two losses is rounded.
    if abs(rest) > _ROUNDED * abs(added):
        terms.append((_others(inspection), rest))
    return sorted(terms, key=lambda term: -term[1])


_ROUNDED = 1e-3


def _of_weights(inspection: Inspection) -> Iterator[tuple[str, float]]:
    """Yield what each regularizer of a weight adds: Keras leaves out those of what does not train."""
    for weight in inspection.weights:
        for name, variable in weight.targets:
            regularizer = getattr(variable, "regularizer", None)
            if regularizer is not None and variable.trainable:
                yield name, float(to_numpy(regularizer(read_value(variable))))


def _others(inspection: Inspection) -> str:
    layers = [
        n.address for n in inspection.inventory.layers if getattr(n.layer, "activity_regularizer", None)
    ]
    return f"activities of {listed(layers, most=2)}" if layers else "add_loss"
