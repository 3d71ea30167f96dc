"""FL106: gradients that vanish or explode on their way to the first layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline._keras.optimizers import compiled_optimizer
from frostline._keras.variables import to_numpy
from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments
from frostline.diagnostics.thresholds import FEWEST_KERNELS, LEAST_UPDATE, VANISHING
from frostline.diagnostics.update_size import first_step_size, root_mean_square


class GradientScale(AuditRule):
    """Gradients vanish or explode.

    What it does:
        Compares the gradients of the kernels on this batch, root mean square of each, from the first layers
        to the last ones. A factor of 10,000 between them is found. Growth towards the first layers is not
        reported of models with BatchNormalization: there it belongs to the start of every deep one (Yang
        and others, 2019, arXiv:1902.08129), and the scale of a kernel in front of it does not matter. It
        also compares them with the kernels themselves: if a step of the optimizer (where a schedule warms it
        up, at the largest rate to come) moves none of them by a millionth of its size, all vanish together.

    Why it matters:
        With plain SGD the first layers then stand still or are thrown far off; with Adam, epsilon swallows
        the smallest. It comes from an activation and an initializer that do not suit each other, as sigmoid
        or tanh in deep chains, or a normal initializer of fixed deviation.

    Example:
        [keras.layers.Dense(64, activation="sigmoid") for _ in range(12)]

    Use instead:
        [keras.layers.Dense(64, activation="relu", kernel_initializer="he_normal") for _ in range(12)]
    """

    code, name, severity = "FL106", "gradient-scale", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the model."""
        sizes = _sizes(inspection)
        if sizes and (largest := _largest_update(inspection, [address for address, _ in sizes])) is not None:
            yield self.finding(
                sizes[0][0],
                f"a step moves no kernel by more than {largest:.0e} of its size: the gradients of "
                f"all {len(sizes)} vanish",
                _REMEDY,
            )
            return
        if len(sizes) < FEWEST_KERNELS:
            return
        values = [size for _, size in sizes]
        first, last = float(np.median(values[:2])), float(np.median(values[-2:]))
        if not first or not last or 1 / VANISHING < first / last < VANISHING:
            return
        word = "vanish" if first < last else "explode"
        if word == "explode" and inspection.normalizes_batches:
            return
        shown = sizes if len(sizes) <= 6 else [*sizes[:3], *sizes[-3:]]
        figures = ", ".join(f"{address} {size:.1e}" for address, size in shown)
        yield self.finding(
            sizes[0][0],
            f"gradients {word} towards the first layers, by a factor of "
            f"{max(first / last, last / first):.0e} (root mean square: {figures})",
            _REMEDY,
        )

    def failing(self) -> dict[str, Any]:
        """Twelve layers of sigmoids."""
        return _deep("sigmoid", "glorot_uniform")

    def passing(self) -> dict[str, Any]:
        """Twelve layers of rectified linear units, initialized for them."""
        return _deep("relu", "he_normal")


_REMEDY = (
    "use an initializer that suits the activation (fl.recommended_initializer), normalization layers, or "
    "residual connections"
)


def _largest_update(inspection: Inspection, addresses: list[str]) -> float | None:
    """Return the largest share of itself that the first step moves a kernel by, if it is too small for all.

    None where a step moves one of them enough, where the optimizer is not known, and for a lone kernel: it
    may be one that begins at zero.
    """
    optimizer = compiled_optimizer(inspection.model)
    if optimizer is None or len(addresses) < 2 or inspection.measured is None:
        return None
    largest = 0.0
    for address in addresses:
        gradient = inspection.measured.gradients[address]
        step = None if gradient is None else first_step_size(optimizer, gradient, warm=True)
        size = root_mean_square(to_numpy(inspection.inventory.by_address[address].variable))
        if step is None or not size:
            return None
        largest = max(largest, step / size)
    return largest if largest < LEAST_UPDATE else None


def _sizes(inspection: Inspection) -> list[tuple[str, float]]:
    """The kernels that train, in the model's order, with the root mean square of their gradients.

    Of an attention layer only the largest: at the start the attention is nearly even, and gradients of
    queries and keys are tiny however deep they lie.
    """
    if inspection.measured is None or not inspection.measured.is_finite:
        return []  # FL107 has more to say
    found: dict[str, tuple[str, float]] = {}
    for weight in inspection.weights:
        gradient = inspection.measured.gradients.get(weight.address)
        if gradient is None or gradient.ndim < 2 or "bias" in weight.name or not gradient.any():
            continue
        if "Embedding" in weight.types:
            continue
        size = root_mean_square(gradient)
        attends = any("Attention" in name for name in weight.types)
        place = weight.layer.rpartition("/")[0] if attends else weight.address
        found[place] = max(found.get(place, ("", 0.0)), (weight.address, size), key=lambda one: one[1])
    return list(found.values())


def _deep(activation: str, initializer: str) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    settings = {"activation": activation, "kernel_initializer": initializer}
    hidden = [keras.layers.Dense(16, name=f"hidden_{n}", **settings) for n in range(12)]
    return arguments(keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(2, name="head")]))
