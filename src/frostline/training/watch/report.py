"""What watching a training came to, in words and figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.watched import Interval, Units, Watched
from frostline.render.foreign import exact

PREFIX = "watch/"
"""Begins the names of all that stands in the logs and in the history."""

NAMES = ("update_ratio", "gradient_norm", "dead_units", "saturated_units", "statistics_drift", "findings")
"""What stands in the logs of every epoch, behind the prefix."""


def lines_of(findings: Iterable[Finding], watched: Watched | None) -> Iterator[str]:
    """Yield what to print: the findings, with what to do, said once for several, and what was not seen."""
    for remedy, group in groupby(findings, key=lambda one: one.remedy):
        for one in group:
            place = f" {exact(one.address)}" if one.address else ""
            yield f"{one.code} {one.severity}{place}: {one.fact}"
        yield f"  fix: {remedy}"
    if watched is not None:
        yield from (f"not watched: {one}" for one in watched.not_seen)


def logs_of(interval: Interval | None, findings: int) -> dict[str, float]:
    """Return what an epoch adds to the logs: always the same names, not a number where nobody looked."""
    values = dict.fromkeys(NAMES, math.nan)
    values["findings"] = float(findings)
    if interval is not None:
        ratios = [move.ratio for move in interval.moves.values()]
        values["update_ratio"] = statistics.median(ratios) if ratios else math.nan
        if (look := interval.look) is not None:
            values["gradient_norm"] = look.gradient_norm
            values["dead_units"] = _share(look.dead)
            values["saturated_units"] = _share(look.saturated)
            values["statistics_drift"] = max((one.mean for one in look.drift.values()), default=0.0)
    return {PREFIX + name: value for name, value in values.items()}


def _share(units: Mapping[str, Units]) -> float:
    """Return which share of all units of all layers is out of use."""
    count = sum(one.count for one in units.values())
    return sum(len(one.out) for one in units.values()) / count if count else 0.0


def each_weight(interval: Interval | None, addresses: Iterable[str]) -> dict[str, float]:
    """Return the figures of each weight, by the name of the figure and the address."""
    found: dict[str, float] = {}
    for address in addresses:
        move = interval.moves.get(address) if interval is not None else None
        look = interval.look if interval is not None else None
        gradient = look.gradients.get(address, math.nan) if look is not None else math.nan
        found[f"{PREFIX}update_ratio/{address}"] = math.nan if move is None else move.ratio
        found[f"{PREFIX}size/{address}"] = math.nan if move is None else move.size
        found[f"{PREFIX}gradient_norm/{address}"] = gradient
    return found


def columns_of(watched: Watched, epochs: Sequence[int]) -> dict[str, list[Any]]:
    """Return the figures of each weight over all epochs, as a history has them.

    Args:
        watched: What was seen.
        epochs: The indexes of the epochs of the history.
    """
    addresses = list(dict.fromkeys(a for one in watched.intervals for a in one.moves))
    # Of several phases within one epoch the last counts.
    ending = {one.epoch: one for one in watched.intervals}
    rows = [each_weight(ending.get(epoch), addresses) for epoch in epochs]
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
