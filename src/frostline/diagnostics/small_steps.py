"""Why the first step hardly moves a kernel: by its gradient, by the rate, by clipping or by the plan."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.optimizers import compiled_optimizer, optimizer_chain
from frostline._keras.variables import to_numpy
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.thresholds import LEAST_UPDATE, LOW_RATE, USUAL_UPDATE
from frostline.diagnostics.update_size import first_steps, root_mean_square, warm_rate

Array = npt.NDArray[Any]

_CLIPS = ("clipvalue", "clipnorm", "global_clipnorm")


@dataclass(frozen=True, slots=True)
class SmallSteps:
    """That the first step moves no kernel by `LEAST_UPDATE` of its size.

    Attributes:
        largest: The largest share of itself that one is moved by.
        facts: What of the optimizer and the plan makes it so small; empty where the gradients vanish.
        remedies: What to set instead, for each of them.
    """

    largest: float
    facts: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


def rate_of_zero(inspection: Inspection) -> float | None:
    """Return the usual rate of the optimizer, where its own is zero, now and later; else None."""
    optimizer = compiled_optimizer(inspection.model)
    inner = None if optimizer is None else optimizer_chain(optimizer)[-1]
    if not type(inner).__module__.startswith("keras.") or not inspection.planned.trained:
        return None
    return _usual_rate(inner) if warm_rate(inner) == 0 else None


def find_small_steps(inspection: Inspection, kernels: list[str]) -> SmallSteps | None:
    """Say why a step is too small for all of these kernels; None where it moves one of them enough.

    None, too, where the optimizer is not known. A schedule counts with the largest rate to come.

    Args:
        inspection: The model.
        kernels: Their addresses; each has a gradient.
    """
    optimizer, measured = compiled_optimizer(inspection.model), inspection.measured
    if optimizer is None or measured is None or not kernels:
        return None
    sizes = {a: root_mean_square(to_numpy(inspection.inventory.by_address[a].variable)) for a in kernels}
    gradients = {n: g for n, g in measured.gradients.items() if g is not None}
    known = first_steps(optimizer, gradients)
    if known is None:
        return None
    resolution = inspection.planned.resolution
    plan = {d.weight.address: d.lr for d in resolution.trained} if resolution else {}
    shares = _Shares(optimizer_chain(optimizer)[-1], gradients, {a: s for a, s in sizes.items() if s}, plan)
    largest = shares.largest(shares.rate)
    if not shares.sizes or largest >= LEAST_UPDATE:
        return None
    there = shares.largest(shares.usual, as_set=False)
    if there >= LEAST_UPDATE:
        said = tuple(shares.culprits())
        if not said:
            return None
        return SmallSteps(largest, tuple(fact for fact, _ in said), tuple(remedy for _, remedy in said))
    # A lone kernel may be one that begins at zero, as may one among others.
    return SmallSteps(largest or there) if len(kernels) > 1 and all(sizes.values()) else None


@dataclass(frozen=True, slots=True)
class _Shares:
    """What share of itself a step moves kernels by, under one setting or another."""

    inner: Any
    gradients: Mapping[str, Array]
    sizes: Mapping[str, float]
    plan: Mapping[str, float]

    @property
    def rate(self) -> float:
        return warm_rate(self.inner)

    @property
    def usual(self) -> float:
        """The rate that an optimizer of this class has by itself, or its own where that is larger."""
        return max(self.rate, _usual_rate(self.inner))

    def largest(self, rate: float, *, as_set: bool = True, clip: bool = False, plan: bool = False) -> float:
        """Return the largest share, with the clip and the multipliers of the plan or without."""
        steps = first_steps(self.inner, self.gradients, rate=rate, clip=as_set or clip)
        factors = self.plan if as_set or plan else {}
        moved = ((root_mean_square((steps or {})[a]) * factors.get(a, 1.0), s) for a, s in self.sizes.items())
        return max((step / size for step, size in moved), default=0.0)

    def culprits(self) -> Iterator[tuple[str, str]]:
        """Yield what makes the step too small, each alone or, where none does, all together."""
        each = [
            (self.largest(self.rate, as_set=False), self._of_rate()),
            (self.largest(self.usual, as_set=False, clip=True), self._of_clip()),
            (self.largest(self.usual, as_set=False, plan=True), self._of_plan()),
        ]
        alone = [said for share, said in each if share < LEAST_UPDATE]
        return (said for said in alone or [said for _, said in each] if said is not None)

    def _of_rate(self) -> tuple[str, str] | None:
        if self.rate > LOW_RATE * self.usual:
            return None
        there = self.largest(self.usual, as_set=False)
        fitting = self.usual * min(1.0, USUAL_UPDATE / there)
        return (
            f"the learning rate of {type(self.inner).__name__}, {self.rate:.1g}, is too small",
            f"set the learning rate to about {fitting:.1g}, unless a callback raises it in training",
        )

    def _of_clip(self) -> tuple[str, str] | None:
        clip = next((name for name in _CLIPS if getattr(self.inner, name, None)), None)
        if clip is None:
            return None
        norms = [float(np.linalg.norm(g.astype("float64").ravel())) for g in self.gradients.values()]
        reach = {
            "clipvalue": max(float(np.abs(g).max(initial=0)) for g in self.gradients.values()),
            "clipnorm": max(norms),
            "global_clipnorm": float(np.linalg.norm(norms)),
        }[clip]
        return (
            f"{clip}={getattr(self.inner, clip):.1g} leaves next to nothing of the gradients",
            f"set {clip} near what it is to clip, here about {reach:.1g}, or take it out",
        )

    def _of_plan(self) -> tuple[str, str] | None:
        factors = [self.plan.get(address, 1.0) for address in self.sizes]
        if max(factors) >= 1:
            return None
        return (
            f"the plan multiplies the learning rate by {max(factors):.1g} at most",
            "use larger multipliers, lr=..., in the rules of the plan",
        )


def _usual_rate(inner: Any) -> float:
    return float(inspect.signature(type(inner)).parameters["learning_rate"].default)
