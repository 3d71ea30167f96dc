"""Whether the first steps of training make the loss larger, each many times over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.optimizers import compiled_optimizer, optimizer_chain
from frostline._keras.variables import to_numpy
from frostline.backends import dispatch
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.moved_weights import values_of, with_values
from frostline.diagnostics.thresholds import OVERSHOOT
from frostline.diagnostics.update_size import first_steps, root_mean_square
from frostline.graph.reader import Computation, Measured

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Overshoot:
    """Two steps on one batch that make its loss many times larger.

    Attributes:
        losses: The loss before the first step, between the two, and after the second; the last ones may not
            be finite.
        optimizer: The class of the optimizer.
        rate: Its rate.
        largest: Name of the weight that the first step changes the loss by most, by its gradient.
    """

    losses: tuple[float, float, float]
    optimizer: str
    rate: float
    largest: str

    @property
    def fitting_rate(self) -> float:
        """A rate at which a step of gradient descent would have ended where the loss is least.

        Along one direction of curvature `c` a step of rate `r` multiplies the loss by `(r * c - 1) ** 2`, so
        that the growth says what `1 / c` is.
        """
        before, between, after = self.losses
        # The second growth is that along the steepest direction.
        growth = max(between / before, after / between if between else 0.0)
        return self.rate / (1 + math.sqrt(growth)) if math.isfinite(growth) else 0.0


def find_overshoot(inspection: Inspection) -> Overshoot | None:
    """Make two steps of the optimizer on the batch, and take them back, if the gradients give reason to.

    Without decay and momentum, and with multipliers of the plan left out: momentum would go further.
    """
    measured, optimizer = inspection.measured, compiled_optimizer(inspection.model)
    if optimizer is None or measured is None or not measured.is_finite or not measured.loss > 0:
        return None
    moved = _Moved.of(optimizer, measured)
    # A sound step takes a few hundredths of the loss, by the slope.
    if moved is None or moved.expected < _SUSPECT * measured.loss:
        return None
    wanted = inspection.planned.trained
    computation = inspection.loss.computation(wanted)
    values = values_of(computation, moved.steps)
    throws_away = moved.throws_away(values)
    first = _after(computation, values, moved)
    if first is None or not _is_above(first[1].loss, OVERSHOOT * measured.loss):
        return None
    again = _Moved.of(optimizer, first[1]) if math.isfinite(first[1].loss) else None
    second = _after(computation, first[0], again) if again else None
    after = second[1].loss if second else float("nan")
    inner = optimizer_chain(optimizer)[-1]
    runs_away = _follows_gradients(inner) and _is_above(after, OVERSHOOT**2 * measured.loss)
    if not (throws_away or runs_away):
        return None
    rate = float(to_numpy(inner.learning_rate))
    losses = (measured.loss, first[1].loss, after)
    return Overshoot(losses, type(inner).__name__, rate, moved.largest)


_SUSPECT = 0.25


def _follows_gradients(inner: Any) -> bool:
    """Whether steps shrink with the gradient; others make a tiny loss many times larger, and come back."""
    clips = inner.clipnorm or inner.global_clipnorm or inner.clipvalue
    return type(inner).__name__ == "SGD" and not clips


def _is_above(loss: float, bound: float) -> bool:
    return not math.isfinite(loss) or loss >= bound


@dataclass(frozen=True, slots=True)
class _Moved:
    """A step: what it takes from each weight, and from the loss by the slope there."""

    steps: Mapping[str, Array]
    expected: float
    largest: str

    @classmethod
    def of(cls, optimizer: Any, measured: Measured) -> _Moved | None:
        gradients = {n: g for n, g in measured.gradients.items() if g is not None and g.dtype.kind != "c"}
        steps = first_steps(optimizer, gradients) if gradients else None
        if steps is None:
            return None
        shares = {name: float(np.sum(step * gradients[name])) for name, step in steps.items()}
        return cls(steps, sum(shares.values()), max(shares, key=shares.__getitem__))

    def throws_away(self, values: Mapping[str, Array]) -> bool:
        """Whether it moves every kernel by more than the kernel itself: nothing is left of where they began.

        An optimizer that goes by signs comes back from such a step, and overshoots again.
        """
        kernels = [name for name, value in values.items() if value.ndim > 1 and value.any()]
        sizes = ((root_mean_square(self.steps[name]), root_mean_square(values[name])) for name in kernels)
        return bool(kernels) and all(step > size for step, size in sizes)


def _after(
    computation: Computation, values: Mapping[str, Array], moved: _Moved
) -> tuple[dict[str, Array], Measured] | None:
    """Return the weights after a step, and what is then measured; None where it ends in an error."""
    new = {name: (value.astype("float64") - moved.steps[name]) for name, value in values.items()}
    with with_values(computation, new) as there:
        measured = dispatch.measure(there)
    return None if measured.error else (new, measured)
