"""Globs on addresses, read strictly: what they do not have is refused, never guessed at."""

from __future__ import annotations

import re
from functools import lru_cache

from frostline.errors import SelectorError


def escaped(address: str) -> str:
    """Return the glob that matches just this address.

    Example:
        >>> escaped("head[0]/kernel")
        'head[[]0[]]/kernel'
    """
    return re.sub(r"([*?\[\]{}:])", r"[\1]", address)


@lru_cache(maxsize=1024)
def glob_to_regex(pattern: str) -> re.Pattern[str]:
    """Translate a glob on addresses; `SelectorError` says what cannot be read, and where.

    Example:
        >>> bool(glob_to_regex("block_{1,2}/**/kernel").fullmatch("block_2/attention/query/kernel"))
        True
    """
    out: list[str] = []
    at, braces = 0, 0
    while at < len(pattern):
        sign = pattern[at]
        if pattern.startswith("**", at):
            piece, at = _double_star(pattern, at)
            out.append(piece)
            continue
        if sign == "[":
            piece, at = _character_class(pattern, at)
            out.append(piece)
            continue
        if sign == "{":
            _refuse_range(pattern, at)
            braces += 1
        elif sign == "}":
            braces -= 1
            if braces < 0:
                raise _unreadable(pattern, at, "a '}' without its '{'")
        elif sign == "]":
            raise _unreadable(pattern, at, "a ']' without its '['")
        plain = {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|" if braces else ","}
        out.append(plain.get(sign, re.escape(sign)))
        at += 1
    if braces:
        raise _unreadable(pattern, pattern.rindex("{"), "a '{' without its '}'")
    return re.compile("".join(out), re.DOTALL)


def _double_star(pattern: str, at: int) -> tuple[str, int]:
    """`**` must fill a segment; `**/` may stand for no segment at all."""
    end = at + 2
    starts = at == 0 or pattern[at - 1] in "/{,"
    ends = end == len(pattern) or pattern[end] in "/},"
    if not (starts and ends):
        raise _unreadable(pattern, at, "'**' next to other signs", "'**' as a whole segment, as in 'a/**/b'")
    if end < len(pattern) and pattern[end] == "/":
        return "(?:[^/]+/)*", end + 1
    return ".+", end


def _character_class(pattern: str, at: int) -> tuple[str, int]:
    end = pattern.find("]", at + 2)
    if end < 0:
        raise _unreadable(pattern, at, "a '[' without its ']'")
    inside = pattern[at + 1 : end]
    negated, inside = inside.startswith("!"), inside.removeprefix("!")
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
    text = f"[{'^/' if negated else ''}{escaped}]"
    try:
        re.compile(text)
    except re.error:
        raise _unreadable(pattern, at, f"the range {inside!r}", "a range such as [0-9]") from None
    return text, end + 1


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
