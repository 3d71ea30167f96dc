"""What was wrong in the course of a training: errors stay, with when they were so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from frostline.diagnostics.finding import Finding, gravest_first
from frostline.diagnostics.training_rules import findings_of
from frostline.diagnostics.watched import Interval, Watched


@dataclass(frozen=True, slots=True)
class _Spell:
    """An error, as it was first found, and over which epochs it was.

    Attributes:
        finding: The finding, in the words in which it was first logged.
        first: The interval that it was first found after.
        last: The interval that it was last found after.
    """

    finding: Finding
    first: Interval
    last: Interval

    def told(self, now: Interval) -> Finding:
        """Return the finding, with when it was so."""
        gone = self.last.epoch != now.epoch
        if not gone and self.first.epoch == now.epoch:
            return self.finding
        when = replace(self.last, first=self.first.epoch).when
        return replace(self.finding, fact=f"{self.finding.fact} ({when}{'; no longer' if gone else ''})")


class Course:
    """Keeps what was an error after any interval; the rest is judged by the end alone.

    Statistics, for one, need their time, while an error was logged when it was found.
    """

    def __init__(self) -> None:
        self._spells: dict[tuple[str, str], _Spell] = {}

    @classmethod
    def of(cls, watched: Watched) -> Course:
        """Return the course of what was seen, interval by interval."""
        course = cls()
        for count in range(1, len(watched.intervals) + 1):
            course.findings(replace(watched, intervals=watched.intervals[:count]))
        return course

    def findings(self, watched: Watched) -> tuple[Finding, ...]:
        """Return what is found in what was seen so far, the gravest first; errors that are gone, too."""
        now, last = findings_of(watched), watched.last
        if last is None:
            return now
        for one in now:
            if one.severity == "error":
                spell = self._spells.get(_key(one), _Spell(one, last, last))
                self._spells[_key(one)] = replace(spell, last=last)
        return gravest_first((*self._told(last), *(one for one in now if one.severity != "error")))

    def _told(self, last: Interval) -> Iterator[Finding]:
        # By their codes, as findings of one moment come.
        spells = sorted(self._spells.values(), key=lambda spell: spell.finding.code)
        return (spell.told(last) for spell in spells)


def _key(finding: Finding) -> tuple[str, str]:
    # It is about all weights together; which of them has the largest gradient changes.
    return finding.code, "" if finding.name == "gradient-explodes" else finding.address
