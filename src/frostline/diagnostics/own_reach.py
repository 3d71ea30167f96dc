"""Targets that the output cannot reach, under a loss of the user's own that asks for them.

What targets mean to such a loss is its own affair: actions, labels, marks for "not known". Only where it is
seen to fall all the way from what the output can be to the target, and to rise behind it, is it asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from frostline._keras.variables import to_numpy
from frostline.diagnostics.reach import NEAR, Reach, beyond_reach
from frostline.diagnostics.targets import Misfit, Target

Array = npt.NDArray[Any]

_MOST_PLACES = 8
"""How many targets are looked at: each takes five evaluations of the loss."""


def targets_beyond_own_loss(target: Target, output: Array, reach: Reach) -> Iterator[Misfit]:
    """Yield that a loss of the user's own asks for what the output cannot be.

    Args:
        target: The targets.
        output: What the model makes of the same samples.
        reach: What the output can be.
    """
    counting = target.counting()
    is_number = target.values.dtype.kind in "fiub" and counting.values.size and callable(target.loss)
    if not is_number or target.values.shape != output.shape or not np.isfinite(target.values).all():
        return
    values = target.values.astype(output.dtype)
    outside = (values < reach.least - NEAR) | (values > reach.most + NEAR)
    counts = target.counts
    places = np.argwhere(outside & counts.reshape(counts.shape + (1,) * (values.ndim - counts.ndim)))
    if not len(places):
        return
    some = places[np.linspace(0, len(places) - 1, min(len(places), _MOST_PLACES)).astype(int)]
    try:
        asked = [_is_asked_for(target.loss, values, output, tuple(place), reach) for place in some]
    except Exception:  # of the user's loss, which may be made for other numbers
        return
    if 2 * sum(asked) > len(asked):
        yield beyond_reach(counting, reach)


def _is_asked_for(loss: Any, values: Array, output: Array, place: tuple[int, ...], reach: Reach) -> bool:
    """Whether a loss falls from within reach to one target, and rises behind it."""
    wanted = float(values[place])
    bound = float(np.clip(wanted, reach.least, reach.most))
    away = wanted - bound
    width = reach.most - reach.least
    step = np.sign(away) * (width / 4 if np.isfinite(width) else max(1.0, abs(away)))
    tried = [bound - 2 * step, bound - step, bound, wanted, wanted + away]
    totals = [_total(loss, values, output, place, one) for one in tried]
    falls = all(later < earlier for earlier, later in itertools.pairwise(totals[:4]))
    return bool(np.isfinite(totals).all() and falls and totals[4] > totals[3])


def _total(loss: Any, values: Array, output: Array, place: tuple[int, ...], number: float) -> float:
    changed = output.copy()
    changed[place] = number
    given = keras.ops.convert_to_tensor(values), keras.ops.convert_to_tensor(changed)
    return float(np.asarray(to_numpy(keras.ops.sum(loss(*given))), "float64"))
