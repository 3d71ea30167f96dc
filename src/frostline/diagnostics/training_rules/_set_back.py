"""Weights that steps move and that something sets back: between two steps, or between two epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from frostline.diagnostics.watched import Interval, Watched

FEWEST_EPOCHS = 2
"""In so many intervals on end a weight must have come back to where it began: a callback that takes up the
best weights once has its reasons."""


def set_back(watched: Watched) -> Iterator[tuple[str, str]]:
    """Yield the addresses of weights that something sets back, each with what was seen of it."""
    last = watched.last
    for address, move in (last.moves if last is not None else {}).items():
        if last is not None and move.set_back:
            yield (
                address,
                f"in {last.when} a step moved it, by {move.stepped:.2g}, and every bit of it was set back "
                "before the next step",
            )
        elif len(epochs := _came_back(watched, address)) >= FEWEST_EPOCHS:
            span = replace(epochs[-1], first=epochs[0].first)
            yield (
                address,
                f"each of {span.when} moved it, and it came out of each with the very bits that it began "
                "with",
            )


def _came_back(watched: Watched, address: str) -> list[Interval]:
    """Return the last intervals on end that it came back in."""
    seen = [one for one in watched.of_last_phase if address in one.moves]
    back = [one.moves[address].came_back for one in seen]
    if len(back) > FEWEST_EPOCHS and all(back[:-1]):
        return seen if back[-1] else seen[:-1]  # what is done when an epoch begins is not done after the last
    return list(takewhile(lambda one: one.moves[address].came_back, reversed(seen)))[::-1]
