"""A delta that is on a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from frostline.delta.change import Change
from frostline.delta.contents import Delta
from frostline.errors import listed
from frostline.render import count


@dataclass(frozen=True, slots=True)
class LoadedDelta:
    """A delta that is on a model.

    Attributes:
        name: What `remove_delta` calls it.
        path: Its file.
        delta: What is in it.
        forced: Whether it is on another base than its own.
        rests_on: The names of the deltas on the model that it was trained on top of; they stay as long as it
            is there.
    """

    name: str
    path: Path
    delta: Delta = field(repr=False)
    forced: bool = False
    rests_on: tuple[str, ...] = ()
    _changes: tuple[Change, ...] = field(default=(), repr=False)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What it did to each weight, with the values that were there before."""
        return self._changes

    def __str__(self) -> str:
        held = f"{count(len(self.delta.entries), 'weight')}, {count(self.delta.size, 'number')}"
        on_top = f", on top of {listed(self.rests_on)}" if self.rests_on else ""
        return f"{self.name}: {held}{on_top}{', on another base' if self.forced else ''}"
