"""Patterns of users, matched in bounded time against the names in a model.

Both come out of files: `**/**/**/**/zzz` on an address of 200 segments takes a matcher that goes back hours,
and `(a+)+$` takes Python's longer than the sun lasts. A glob is matched without going back. A regular
expression means what Python's `re` makes of it, since plans say so, and `re` cannot be stopped; so what could
take long is matched by it in a process of its own, which can.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache

from frostline.errors import SelectorError
from frostline.files.json_text import parsed_json
from frostline.render.tables import count

SECONDS = 3.0
"""How long one pattern may take with all names of a model; all of a plan together as long, beyond `_FREE`."""

_FREE = 0.01
"""Seconds of each pattern that do not count: an ordinary one takes less with ten thousand names."""

_QUICK_STEPS = 100_000_000
"""Of a matcher that goes back: about a second."""

_LONGEST = 20_000
"""Signs of a pattern: to read one takes time, too."""


_MOST_WIDE_SETS = 100
"""Sets of characters in a pattern with letters of large alphabets."""


@dataclass
class _Allowance:
    """How many seconds patterns may still take, and whether some before this one took a part of them."""

    left: float
    shared: bool = False


_ALLOWANCE: ContextVar[_Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def patterns_together() -> Iterator[_Allowance]:
    """Let all patterns that are read or matched inside the block take as long together as one may alone."""
    allowance = _ALLOWANCE.get() or _Allowance(SECONDS)
    before = _ALLOWANCE.set(allowance)
    try:
        yield allowance
    finally:
        _ALLOWANCE.reset(before)


@contextmanager
def _allowed() -> Iterator[None]:
    """Count what the pattern takes that is read or matched inside the block.

    Raises:
        TimeoutError: There are none left.
    """
    with patterns_together() as allowance:
        allowance.shared = allowance.left < SECONDS
        if allowance.left <= 0:
            raise TimeoutError
        began = time.monotonic()
        try:
            yield
        finally:
            allowance.left -= max(0.0, time.monotonic() - began - _FREE)


def _seconds_left() -> float:
    allowance = _ALLOWANCE.get()
    return allowance.left if allowance else SECONDS


def require_readable_length(pattern: str, what: str) -> None:
    """Raise `SelectorError` for a pattern that is too long to be one, or would take long to read."""
    if len(pattern) > _LONGEST:
        raise SelectorError(
            f"the {what} {pattern[:40]!r}... is too long",
            received=f"{len(pattern):,} signs",
            expected=f"at most {_LONGEST:,}",
            remedy="write several rules, or a list under any:",
        )

    # Each becomes a table of 65,536 characters, which takes `re` some hundredths of a second.
    sets = pattern.count("[") + pattern.count("(")
    if sets > _MOST_WIDE_SETS and _is_wide(pattern):
        raise SelectorError(
            f"the {what} {_cut(pattern)} would take too long to read",
            received=f"{count(sets, 'bracket')}, and letters beyond U+00FF",
            expected=f"at most {_MOST_WIDE_SETS} brackets together with such letters",
            remedy="write several rules, or a list under any:",
        )


def _is_wide(pattern: str) -> bool:
    """Whether a pattern speaks of characters that do not fit into one byte."""
    return max(pattern, default="") > "\xff" or any(sign in pattern for sign in ("\\u", "\\U", "\\N"))


# Globs --------------------------------------------------------------------------------------------

Test = Callable[[str], bool]
"""Whether one character fits."""


@dataclass
class Automaton:
    """All ways through a glob at once: each character of a name is looked at once, and none again.

    Its states are numbers; what `moves` lists takes a character, what `jumps` lists takes none. Sets of
    states are made as they are met, and kept, which makes the names of one model quick.
    """

    moves: list[list[tuple[Test, int]]] = field(default_factory=lambda: [[]])
    jumps: list[list[int]] = field(default_factory=lambda: [[]])
    _steps: dict[tuple[frozenset[int], str], frozenset[int]] = field(default_factory=dict)
    _first: frozenset[int] = frozenset()
    _size: int = 0

    def state(self) -> int:
        """Add a state and return it."""
        self.moves.append([])
        self.jumps.append([])
        return len(self.moves) - 1

    def matches(self, text: str, end: int, *, until: float) -> bool:
        """Whether a whole text leads from the first state to the end.

        Raises:
            TimeoutError: The clock says later than `until`.
        """
        self._first = here = self._first or self._reached({0})
        for sign in text:
            key = (here, sign)
            if key not in self._steps:
                if time.monotonic() > until:
                    raise TimeoutError
                self._keep(
                    key, self._reached({to for at in here for fits, to in self.moves[at] if fits(sign)})
                )
            here = self._steps[key]
            if not here:
                return False
        return end in here

    def _keep(self, key: tuple[frozenset[int], str], found: frozenset[int]) -> None:
        self._size += len(found) + 10
        if self._size > _KEPT:
            self._steps.clear()
            self._size = 0
        self._steps[key] = found

    def _reached(self, states: set[int]) -> frozenset[int]:
        waiting = list(states)
        while waiting:
            new = [to for to in self.jumps[waiting.pop()] if to not in states]
            states.update(new)
            waiting += new
        return frozenset(states)


_KEPT = 2_000_000
"""States in all steps that are kept for one glob: some hundred megabytes at most."""


@dataclass(frozen=True)
class GlobMatcher:
    """A glob that was read.

    Attributes:
        pattern: As it was written.
        expression: As `re` writes it.
        stars: How many signs of it stand for any number of characters.
        choices: In how many ways its braces can be gone through at most.
        automaton: The same without going back.
        end: The last state of the automaton.
    """

    pattern: str
    expression: str
    stars: int
    choices: int
    automaton: Automaton = field(repr=False)
    end: int

    def fullmatch(self, text: str) -> bool:
        """Whether a whole text is matched."""
        return bool(self.matching([text]))

    def matching(self, texts: Iterable[str]) -> set[str]:
        """Return those of some texts that it matches as a whole.

        Raises:
            SelectorError: It takes too long.
        """
        every = list(texts)
        try:
            with _allowed():
                return self._matching(every)
        except TimeoutError:
            raise _too_slow("glob", self.pattern, every, "write fewer alternatives and stars") from None

    def _matching(self, texts: Sequence[str]) -> set[str]:
        if _ways(self.stars, self.choices, texts) <= _QUICK_STEPS:
            expression = re.compile(self.expression, re.DOTALL)
            return {text for text in texts if expression.fullmatch(text)}
        until = time.monotonic() + _seconds_left()
        return {text for text in texts if self.automaton.matches(text, self.end, until=until)}


def choices_of(alternatives: Iterable[int]) -> int:
    """Return in how many ways at most a matcher that goes back can go through some braces."""
    choices = 1
    for number in alternatives:
        choices = min(choices * max(2, number), _QUICK_STEPS + 1)
    return choices


def _ways(stars: int, choices: int, texts: Sequence[str]) -> int:
    """Return in how many ways a matcher that goes back can go through texts at most."""
    longest = max(map(len, texts), default=0)
    return len(texts) * int(choices * (longest + 1) ** min(stars, 20))


# Regular expressions ------------------------------------------------------------------------------


def require_expression(pattern: str) -> None:
    """Raise `SelectorError` where Python's `re` cannot read a pattern; says why."""
    require_readable_length(pattern, "regular expression")
    try:
        with _allowed():
            re.compile(pattern)
    except TimeoutError:
        raise _too_slow("regular expression", pattern, (), _NO_REPEATED_REPETITION) from None
    except RecursionError:
        why = "its groups are nested too deeply"
    except (re.error, OverflowError, ValueError) as error:
        why = str(error)
    else:
        return
    shown = repr(pattern) if len(pattern) <= 200 else f"{pattern[:40]!r}... of {len(pattern):,} signs"
    raise SelectorError(
        f"the regular expression {shown} cannot be read: {why}", expected="the syntax of Python's re module"
    )


def expression_matching(pattern: str, texts: Iterable[str], *, within: bool = False) -> set[str]:
    """Return those of some texts that a regular expression matches.

    Args:
        pattern: One that `require_expression` lets through.
        texts: The texts.
        within: Whether a part of the text is enough.

    Raises:
        SelectorError: It takes too long.
    """
    every = tuple(texts)
    try:
        with _allowed():
            if not _is_quick(pattern, every):
                return set(_matched_apart(pattern, every, within))
            expression = re.compile(pattern)
            matches = expression.search if within else expression.fullmatch
            return {text for text in every if matches(text)}
    except (TimeoutError, subprocess.TimeoutExpired):
        raise _too_slow("regular expression", pattern, every, _NO_REPEATED_REPETITION) from None


_NO_REPEATED_REPETITION = (
    "write no repetition of what is repeated, such as (a+)+; or a glob, which is always quick"
)


def _is_quick(pattern: str, texts: Sequence[str]) -> bool:
    """Whether `re` has few ways through texts, by the signs of the pattern.

    It says so of fewer patterns than are: signs count where they are escaped or in brackets, too. Where a
    group may be repeated, or signs between it and its repetition be left out, no number is enough.
    """
    if re.search(r"\)\s*[*+?{]|\(\?\w*x", pattern):
        return False
    either = pattern.count("|") + pattern.count("?")
    # One more than there are repetitions, since a match may begin anywhere.
    return _ways(sum(map(pattern.count, "*+{")) + 1, 2 ** min(either, 60), texts) <= _QUICK_STEPS


@lru_cache(maxsize=64)
def _matched_apart(pattern: str, texts: tuple[str, ...], within: bool) -> tuple[str, ...]:
    """Match in a process of its own; a model is asked again and again, so answers are kept."""
    task = json.dumps({"pattern": pattern, "texts": texts, "within": within})
    # Without the user's packages and settings: nothing of theirs is imported, and it starts at once.
    command = [sys.executable, "-I", "-S", "-c", _MATCHER]
    try:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("this program is not a Python that could be started again")
        done = subprocess.run(command, input=task, capture_output=True, text=True, timeout=_seconds_left())
    except OSError as error:
        raise _not_matched(pattern, str(error)) from None
    if done.returncode:
        raise _not_matched(pattern, (done.stderr.strip().splitlines() or ["it was ended"])[-1])
    return tuple(texts[number] for number in parsed_json(done.stdout))


_MATCHER = """
import json, re, sys
task = json.load(sys.stdin)
expression = re.compile(task["pattern"])
matches = expression.search if task["within"] else expression.fullmatch
json.dump([n for n, text in enumerate(task["texts"]) if matches(text)], sys.stdout)
"""


def _too_slow(noun: str, pattern: str, texts: Sequence[str], remedy: str) -> SelectorError:
    longest = max(map(len, texts), default=0)
    allowance = _ALLOWANCE.get()
    takes = "takes, with the patterns before it," if allowance and allowance.shared else "takes"
    return SelectorError(
        f"the {noun} {_cut(pattern)} {takes} too long: it was stopped after {SECONDS:g} s",
        received=f"{count(len(texts), 'name')}, the longest of {count(longest, 'sign')}" if texts else None,
        remedy=remedy,
    )


def _not_matched(pattern: str, why: str) -> SelectorError:
    return SelectorError(
        f"the regular expression {_cut(pattern)} could not be matched in a process of its own",
        received=why,
        expected="one that takes no repetition of groups, which is matched in this process",
        remedy="write it as a glob, or as several rules",
    )


def _cut(pattern: str) -> str:
    return repr(pattern) if len(pattern) <= 60 else f"{pattern[:60]!r}..."
