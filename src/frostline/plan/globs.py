"""Globs on addresses, read strictly: what they do not have is refused, never guessed at."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from frostline.errors import SelectorError
from frostline.plan.matching import (
    Automaton,
    GlobMatcher,
    Test,
    choices_of,
    require_readable_length,
)


def escaped(address: str) -> str:
    """Return the glob that matches just this address.

    Example:
        >>> escaped("head[0]/kernel")
        'head[[]0[]]/kernel'
    """
    return re.sub(r"([*?\[\]{}:])", r"[\1]", address)


@lru_cache(maxsize=1024)
def read_glob(pattern: str) -> GlobMatcher:
    """Read a glob on addresses; `SelectorError` says what cannot be read, and where.

    Example:
        >>> read_glob("block_{1,2}/**/kernel").fullmatch("block_2/attention/query/kernel")
        True
    """
    require_readable_length(pattern, "glob")
    built = _Built()
    at = 0
    while at < len(pattern):
        at = _read_sign(pattern, at, built)
    if built.open:
        raise _unreadable(pattern, pattern.rindex("{"), "a '{' without its '}'")
    choices = choices_of(built.alternatives)
    return GlobMatcher(pattern, "".join(built.pieces), built.stars, choices, built.automaton, built.here)


def _read_sign(pattern: str, at: int, built: _Built) -> int:
    """Read one sign into a glob, and return where the next begins."""
    sign = pattern[at]
    if pattern.startswith("**", at):
        return _double_star(pattern, at, built)
    if sign == "[":
        return _character_class(pattern, at, built)
    if sign == "]":
        raise _unreadable(pattern, at, "a ']' without its '['")
    if sign == "}" and not built.open:
        raise _unreadable(pattern, at, "a '}' without its '{'")
    if sign == "{":
        _refuse_range(pattern, at)
        built.begin()
    elif sign == "}":
        built.finish()
    elif sign == "," and built.open:
        built.otherwise()
    elif sign == "*":
        built.repeat("[^/]*", "/".__ne__)
    elif sign == "?":
        built.one("[^/]", "/".__ne__)
    else:
        built.one(re.escape(sign), sign.__eq__)
    return at + 1


@dataclass
class _Built:
    """A glob while it is read: as `re` writes it, and as an automaton.

    Attributes:
        pieces: Of the expression for `re`.
        automaton: Its states so far.
        here: The state in which reading goes on.
        open: The braces that are not closed: the state before each, and the one behind it.
        alternatives: How many each brace has.
        stars: How many signs stand for any number of characters.
    """

    pieces: list[str] = field(default_factory=list)
    automaton: Automaton = field(default_factory=Automaton)
    here: int = 0
    open: list[tuple[int, int, int]] = field(default_factory=list)
    alternatives: list[int] = field(default_factory=list)
    stars: int = 0

    def one(self, piece: str, fits: Test) -> None:
        """Take one character."""
        self.pieces.append(piece)
        self._go(fits)

    def repeat(self, piece: str, fits: Test) -> None:
        """Take any number of characters, or none."""
        self.pieces.append(piece)
        self.stars += 1
        self._jump(self.automaton.state())
        self.automaton.moves[self.here].append((fits, self.here))

    def segments(self) -> None:
        """Take any number of segments with the slash behind each, or none."""
        self.pieces.append("(?:[^/]+/)*")
        self.stars += 1
        self._jump(self.automaton.state())
        between, inside = self.here, self.automaton.state()
        self.automaton.moves[between].append(("/".__ne__, inside))
        self.automaton.moves[inside] += [("/".__ne__, inside), ("/".__eq__, between)]

    def anything(self) -> None:
        """Take one character or more, slashes too."""
        self.pieces.append(".+")
        self.stars += 1
        self._go(_any)
        self.automaton.moves[self.here].append((_any, self.here))

    def begin(self) -> None:
        """Begin alternatives."""
        self.pieces.append("(?:")
        self.open.append((self.here, self.automaton.state(), len(self.alternatives)))
        self.alternatives.append(1)
        self._jump(self.automaton.state())

    def otherwise(self) -> None:
        """End an alternative and begin the next."""
        self.pieces.append("|")
        before, behind, number = self.open[-1]
        self.alternatives[number] += 1
        self._jump(behind)
        self.here = before
        self._jump(self.automaton.state())

    def finish(self) -> None:
        """End the last alternative."""
        self.pieces.append(")")
        _, behind, _ = self.open.pop()
        self._jump(behind)

    def _go(self, fits: Test) -> None:
        to = self.automaton.state()
        self.automaton.moves[self.here].append((fits, to))
        self.here = to

    def _jump(self, to: int) -> None:
        self.automaton.jumps[self.here].append(to)
        self.here = to


def _any(_: str) -> bool:
    return True


def _double_star(pattern: str, at: int, built: _Built) -> int:
    """`**` must fill a segment; `**/` may stand for no segment at all."""
    end = at + 2
    starts = at == 0 or pattern[at - 1] in "/{,"
    ends = end == len(pattern) or pattern[end] in "/},"
    if not (starts and ends):
        raise _unreadable(pattern, at, "'**' next to other signs", "'**' as a whole segment, as in 'a/**/b'")
    if end < len(pattern) and pattern[end] == "/":
        built.segments()
        return end + 1
    built.anything()
    return end


def _character_class(pattern: str, at: int, built: _Built) -> int:
    end = pattern.find("]", at + 2)
    if end < 0:
        raise _unreadable(pattern, at, "a '[' without its ']'")
    inside = pattern[at + 1 : end]
    negated, inside = inside.startswith("!"), inside.removeprefix("!")
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
    text = f"[{'^/' if negated else ''}{escaped}]"
    try:
        fits = re.compile(text).fullmatch
    except re.error:
        raise _unreadable(pattern, at, f"the range {inside!r}", "a range such as [0-9]") from None
    built.one(text, lambda sign: fits(sign) is not None)
    return end + 1


def _refuse_range(pattern: str, at: int) -> None:
    inside = pattern[at + 1 :].split("}")[0]
    if re.fullmatch(r"-?\w+\.\.-?\w+", inside) or (
        re.fullmatch(r"\d*,\d*", inside)
        and ","
        in (
            inside[:1],
            inside[-1:],
        )
    ):
        raise _unreadable(
            pattern,
            at,
            f"{{{inside}}}, which a glob does not have",
            "the names in full, {1,2,3}, or a range of digits, [1-3]; a count needs a regular expression",
        )


def _unreadable(
    pattern: str,
    at: int,
    what: str,
    expected: str = "balanced signs; a glob knows * ** ? {a,b} [0-9] [!0-9]",
) -> SelectorError:
    return SelectorError(f"the glob {pattern!r} has {what}, at position {at + 1}", expected=expected)
