"""How much time looking at a training may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

FREE_SECONDS = 0.25
"""What looking may take in any case, in all, beside the first look and the last one: else no epoch of a
training of a few seconds could be watched."""


class Allowance:
    """Keeps what looking takes below a share of the training's time.

    Args:
        share: Which share of it may be spent.
        free: What may be spent in any case, in seconds.
    """

    def __init__(self, share: float, free: float = FREE_SECONDS) -> None:
        self._share, self._free = share, free
        self.spent = 0.0
        self._forced = 0.0
        self._began = time.perf_counter()
        self._costs: dict[str, float] = {}

    def begin(self) -> None:
        """Begin to count the time of the training."""
        self._began = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """How long the training has taken, in seconds, looks included."""
        return time.perf_counter() - self._began

    def allows(self, *what: str) -> bool:
        """Whether there is time for these, by what they took the last time."""
        cost = sum(self._costs.get(one, 0.0) for one in what)
        small = self.spent - self._forced + cost <= self._free
        return small or self.spent + cost <= self._share * self.elapsed

    @contextmanager
    def spending(self, what: str, *, forced: bool = False) -> Iterator[None]:
        """Count the time of a block, of one that is run in any case too."""
        began = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - began
            self.spent += taken
            self._forced += taken if forced else 0.0
            self._costs[what] = taken
