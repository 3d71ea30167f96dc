"""Which operations take the gradient away from weights, or from units, on these data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline.backends import dispatch
from frostline.diagnostics import remedies
from frostline.diagnostics.explanation import Explanation, said_at
from frostline.diagnostics.thresholds import DEAD_SHARE
from frostline.errors import UnsupportedVersionError, said
from frostline.graph.reader import Computation, Measured
from frostline.graph.zero_gradient import Zeroing, Zeros


@dataclass(frozen=True)
class Zeroes:
    """Where gradients become zero on their way back.

    Attributes:
        found: The operations, from the loss on; empty where no weight gets zeros for most of its units.
        unseen: Why they could not be looked for; else "".
    """

    found: tuple[Zeroing, ...] = field(default=(), repr=False)
    unseen: str = ""

    def under_loss_weights(self, weights: Any) -> Zeroes:
        """Return the same, with products outside of layers laid to a loss weight of zero where there is one.

        Args:
            weights: As `compile` takes them.
        """
        numbers = [one for one in keras.tree.flatten(weights) if isinstance(one, int | float)]
        if all(numbers):
            return self
        shares = Zeros(f"loss_weights={weights!r}", "compile")
        return replace(
            self,
            found=tuple(one.multiplying(shares) if _is_bare(one) else one for one in self.found),
        )

    def cause_for(self, names: Collection[str]) -> Zeroing | None:
        """Return the operation nearest to the loss that hands back nothing but zeros to one of these weights.

        One that computes goes before one that only puts values together or apart: zeros of a part that nobody
        used are no news. None where none did so alone, or none was seen.
        """
        whole = [one for one in self.found if one.is_whole and not one.weights.isdisjoint(names)]
        return min(whole, key=lambda one: one.only_moves, default=None)


def _is_bare(one: Zeroing) -> bool:
    """Whether it is a product that no layer and no line of the user's makes, with nothing better known."""
    return one.may_multiply and not (one.layer or one.where or one.factor or one.units > 1)


def explained_by(cause: Zeroing, explanation: Explanation) -> Explanation:
    """Return the explanation of a weight that gets zeros, with the operation that hands them back."""
    note, remedy = said_at(cause.fact, cause.layer, cause.where), remedies.of_zero(cause)
    return replace(explanation, note=note, remedy=remedy, where=cause.where)


def find_zeroes(
    computation: Computation, measured: Measured, asked: Iterable[str], starting: Collection[str]
) -> Zeroes:
    """Look for where gradients become zero, where a weight gets none, or a kernel for few of its units.

    Args:
        computation: The computation.
        measured: Its gradients.
        asked: Names of the weights that are asked about.
        starting: Names of those whose gradient is zero at the start only.
    """
    if measured.error or not measured.is_finite:
        return Zeroes()
    gradients = (measured.gradients.get(name) for name in asked if name not in starting)
    if not any(one is not None and _is_mostly_zero(one) for one in gradients):
        return Zeroes()
    try:
        return Zeroes(tuple(dispatch.zeroing(computation)))
    except UnsupportedVersionError:
        raise
    except Exception as error:  # the audit says so; that the gradient is zero is known all the same
        return Zeroes(unseen=f"looking for it ended in {said(error)}")


def _is_mostly_zero(gradient: npt.NDArray[np.generic]) -> bool:
    if gradient.ndim < 2:
        return not gradient.any()
    units = gradient.reshape(-1, gradient.shape[-1])
    return float(np.mean(~units.any(0))) >= DEAD_SHARE
