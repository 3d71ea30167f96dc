"""FL106: gradients that vanish or explode on their way to the first layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.rules._models import arguments
from frostline.diagnostics.small_steps import SmallSteps, find_small_steps, rate_of_zero
from frostline.diagnostics.thresholds import FEWEST_KERNELS, VANISHING
from frostline.diagnostics.update_size import root_mean_square


class GradientScale(AuditRule):
    """Gradients vanish or explode.

    What it does:
        Compares the gradients of the kernels on this batch, root mean square of each, from the first layers
        to the last ones. A factor of 10,000 between them is found. Growth towards the first layers is not
        reported of models with BatchNormalization: there it belongs to the start of every deep one (Yang
        and others, 2019, arXiv:1902.08129), and the scale of a kernel in front of it does not matter. It
        also compares them with the kernels themselves: if a step of the optimizer (where a schedule warms it
        up, at the largest rate to come) moves none of them by a millionth of its size, all vanish together;
        or, where a step at the optimizer's usual rate, unclipped, would move one, its rate, its clip or the
        multipliers of the plan are too small. A rate of zero is a note: a callback may raise it.

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
        if (usual := rate_of_zero(inspection)) is not None:
            yield self.finding("", _NO_RATE, _set_rate(usual), severity="note")
        sizes = _sizes(inspection)
        small = find_small_steps(inspection, [address for address, _ in sizes])
        if small is not None and (small.largest or not small.facts):
            yield self._of_small_steps(small, sizes)
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

    def _of_small_steps(self, small: SmallSteps, sizes: list[tuple[str, float]]) -> Finding:
        fact = f"a step moves no kernel by more than {small.largest:.0e} of its size: "
        if small.facts:
            return self.finding("", fact + ", and ".join(small.facts), "; ".join(small.remedies))
        vanish = f"the gradients of all {len(sizes)} vanish"
        return self.finding(sizes[0][0], fact + vanish, f"{_REMEDY}, or a loss that is not so small")

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

_NO_RATE = "the learning rate is 0: if nothing raises it in training, no step moves a weight"


def _set_rate(usual: float) -> str:
    return (
        f"set it to about {usual:g}, or raise it by a callback, as keras.callbacks.LearningRateScheduler does"
    )


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
