"""FL114: penalties that outweigh the loss of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.penalties import largest_penalties
from frostline.diagnostics.rules._models import arguments
from frostline.diagnostics.thresholds import OUTWEIGHED
from frostline.errors import listed
from frostline.graph.reader import norm


class PenaltyOutweighsData(AuditRule):
    """Penalties outweigh the data.

    What it does:
        Compares what all penalties together (regularizers of weights and activities, `add_loss`) add to the
        loss, and to the gradient of the weights that they act on, with what the data give. Ten times as much
        of both is found: weights that a penalty holds come to rest where both gradients are equal, so that
        these shrink to a tenth or less first. The largest penalties are named. Left alone are models that fit
        the data already, and losses of which nobody knows what guessing gives.

    Why it matters:
        The model learns the penalty: weights go towards zero, whatever the targets are, and the loss goes
        down as if all was well.

    Example:
        keras.layers.Dense(64, kernel_regularizer=keras.regularizers.L2(10.0))

    Use instead:
        keras.layers.Dense(64, kernel_regularizer=keras.regularizers.L2(1e-4))
    """

    code, name, severity = "FL114", "penalty-outweighs-data", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the model."""
        data, total = inspection.measured, inspection.total
        if data is None or total is None or not (data.is_finite and total.is_finite):
            return
        added = total.loss - data.loss
        guessing = [one.loss_of_guessing for one in inspection.targets]
        if added < OUTWEIGHED * abs(data.loss) or len(guessing) != 1 or guessing[0] is None:
            return
        if data.loss < guessing[0] / OUTWEIGHED:
            return  # a model that fits gets no gradient from the data, until the penalty has moved it
        shares = dict(_shares(data.gradients, total.gradients))
        if not shares or _together(shares) < OUTWEIGHED:
            return
        outweighed = [name for name, share in shares.items() if share.times >= OUTWEIGHED]
        terms = [f"{name} {size:.3g}" for name, size in largest_penalties(inspection, added)]
        yield self.finding(
            max(shares, key=lambda name: shares[name].times),
            f"penalties outweigh the data: they add {added:.3g} to a loss of {data.loss:.3g} "
            f"({listed(terms, most=3)}), and their gradient is at least "
            f"{min(shares[name].times for name in outweighed):.0f} times that of the data for "
            f"{listed(outweighed, most=3)}",
            "make the penalties weaker, the largest first, so that they add less than the data's loss",
        )

    def failing(self) -> dict[str, Any]:
        """A penalty of 100."""
        return _penalized(100.0)

    def passing(self) -> dict[str, Any]:
        """A usual one."""
        return _penalized(1e-3)


@dataclass(frozen=True, slots=True)
class _Share:
    """The gradient of one weight, as Euclidean norms.

    Attributes:
        penalty: What penalties give.
        data: What the data give.
    """

    penalty: float
    data: float

    @property
    def times(self) -> float:
        return self.penalty / self.data


def _together(shares: Mapping[str, _Share]) -> float:
    """Return how many times larger the gradient of the penalties is, of all weights that they act on."""
    every = shares.values()
    return math.hypot(*(one.penalty for one in every)) / math.hypot(*(one.data for one in every))


def _shares(data: Any, total: Any) -> Iterator[tuple[str, _Share]]:
    """Yield what penalties and data give to the gradient of each weight that penalties act on.

    Where the data give no gradient at all, penalties alone move a weight, which its status says.
    """
    for name, both in total.items():
        alone = data.get(name)
        if both is None or alone is None or not alone.any():
            continue
        share = _Share(norm(both.astype("float64") - alone) or 0.0, norm(alone) or 0.0)
        if share.penalty > _ROUNDED * share.data:
            yield name, share


_ROUNDED = 1e-4
"""A difference between two measurements that may be rounding."""


def _penalized(strength: float) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    penalty = keras.regularizers.L2(strength)
    layers = [keras.layers.Dense(n, kernel_regularizer=penalty, name=f"layer_{n}") for n in (8, 2)]
    return arguments(keras.Sequential([keras.Input((3,)), *layers]))
