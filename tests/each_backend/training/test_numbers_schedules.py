"""Schedules of three phases in minibatches give the numbers of NumPy, and so the same on every backend.

The reference is float64 and knows no backend: gradients by hand, the rules of Keras's manual, and steps
counted by weight. What is within 1e-5 of it on each backend is within 1e-4 of any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import frostline as fl
from helpers.checks import quick_first
from helpers.numpy_training import (
    ADAM,
    ADAMW,
    RMSPROP,
    SAMPLES,
    SGD,
    Group,
    Setting,
    Values,
    data,
    network,
    numpy_clipped,
    numpy_gradients,
    numpy_step,
    start,
    values_of,
)

pytestmark = pytest.mark.optimized

BATCH = 4
TOLERANCE = 1e-5
"""Measured: 2e-6 at most."""

PHASES = (
    (fl.Phase("head", epochs=2).train("head/**"), {"head": Group(("head",))}, 8),
    # Ends within an epoch; the rest of it is the next one's.
    (
        fl.Phase("b joins", steps=6, lr=0.5).train("head/**").train("b/**", lr=0.5, decay=2.0),
        {"head": Group(("head",), lr=0.5), "b": Group(("b",), lr=0.25, decay=2.0)},
        6,
    ),
    # The head leaves; a joins.
    (
        fl.Phase("a joins", epochs=1).train("{a,b}/**", decay=0.5),
        {"a": Group(("a",), decay=0.5), "b": Group(("b",), decay=0.5)},
        6,
    ),
)
SCHEDULE = fl.Schedule(fl.Plan(), tuple(phase for phase, _, _ in PHASES))

EXTRAS: dict[str, dict[str, Any]] = {
    "plain": {},
    "global_clipnorm": {"global_clipnorm": 0.3},
    "ema": {"use_ema": True, "ema_momentum": 0.6},
    "accumulation": {"gradient_accumulation_steps": 2},
}


def batches() -> Iterator[slice]:
    """The batches of `fit` without shuffling, again and again."""
    while True:
        yield from (slice(first, first + BATCH) for first in range(0, SAMPLES, BATCH))


def numpy_schedule(setting: Setting, extra: dict[str, Any]) -> Values:
    """The whole schedule in float64."""
    values = {a: v.astype("float64") for a, v in start().items()}
    slots = {a: [np.zeros_like(v), np.zeros_like(v)] for a, v in values.items()}
    counts = dict.fromkeys(values, 0)
    every, momentum = extra.get("gradient_accumulation_steps", 1), extra.get("ema_momentum")
    averages: Values = {}
    gathered: list[Values] = []
    rows = batches()
    for _, multipliers, steps in PHASES:
        trained = [a for a in values if a.split("/")[0] in multipliers]
        for _ in range(steps):
            gradients = numpy_gradients(values, next(rows))
            gathered.append({a: gradients[a] for a in trained})
            if len(gathered) == every:
                mean = {a: sum(g[a] for g in gathered) / every for a in trained}
                clipped = numpy_clipped(mean, extra.get("global_clipnorm"))
                gathered = []
                for a in trained:
                    counts[a] += 1
                    group = multipliers[a.split("/")[0]]
                    values[a] = numpy_step(setting, group, values[a], clipped[a], slots[a], counts[a])
            if momentum is not None:
                # The first own step of a weight is all of its average.
                known = {a: averages.get(a, values[a]) for a in trained}
                averages |= {a: momentum * v + (1 - momentum) * values[a] for a, v in known.items()}
        if momentum is not None:
            values |= {a: averages[a] for a in trained}
    return values


@pytest.mark.parametrize("extra", quick_first(EXTRAS, ["plain", "accumulation"]))
@pytest.mark.parametrize("setting", [SGD, ADAM, ADAMW, RMSPROP], ids=lambda s: s.name)
def test_a_schedule_equals_numpy(setting: Setting, extra: str) -> None:
    model = network()
    model.compile(setting.keras(**EXTRAS[extra]), "mse")
    run = fl.fit(model, SCHEDULE, *data(), batch_size=BATCH, shuffle=False, verbose=0)
    assert [set(p.verification.of("trained")) for p in run.phases] == [
        {a for a in start() if a.split("/")[0] in multipliers} for _, multipliers, _ in PHASES
    ]
    expected = numpy_schedule(setting, EXTRAS[extra])
    for address, value in values_of(model).items():
        difference = float(np.abs(value - expected[address]).max())
        assert difference <= TOLERANCE, f"{address}: {difference:.1e}"
        assert np.abs(value - start()[address]).max() > 100 * TOLERANCE, "moved too little to tell"
