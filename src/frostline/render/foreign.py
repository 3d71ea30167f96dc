r"""Text that others wrote: names of layers, labels, files, messages of other libraries.

What a terminal or a browser would act on, or would not show at all, becomes an escape as Python spells it:
`\x1b`, `\u202e`. Needs no other module, since messages of errors go through it too.
"""

from __future__ import annotations

import re
import unicodedata
import warnings

_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # joiners and fillers that show nothing
    + "\u180b\u180c\u180d\u180f"  # variants of Mongolian letters
    + "".join(map(chr, range(0xFE00, 0xFE10)))  # variants of signs
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
"""Characters that Unicode counts among letters, marks and signs, and that nobody sees."""

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PIECES = re.compile(r"\\+|[^\\]")
"""A run of backslashes, or one other character."""

_JAMO = ("\u1100", "\u11ff")
"""The first and the last part of a Korean syllable that is written in parts."""


def visible(text: str) -> str:
    r"""Return a text of one or more lines that can be shown: a line break stays, nothing else acts.

    Twice is the same as once. Backslashes stay as they are, since messages hold what `repr` wrote.

    Example:
        >>> visible("head\x1b[31m\u202e/kernel\nnext")
        'head\\x1b[31m\\u202e/kernel\nnext'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one == "\n" or is_shown(one) else escape(one) for one in text)


def exact(text: str) -> str:
    r"""Return a name in one line, such that two names that differ never look the same.

    Escapes what `visible` does, line breaks, what only looks like a composed letter, and a backslash where it
    would be read as an escape. Letters of other alphabets that look alike stay: they are what was written.

    Example:
        >>> exact("a\nb"), exact(r"a\nb"), exact(r"\d+")
        ('a\\nb', 'a\\\\nb', '\\d+')
    """
    if text.isprintable() and text.isascii() and "\\" not in text:
        return text
    seen = is_shown if unicodedata.is_normalized("NFC", text) else _stands_alone

    def shown(piece: re.Match[str]) -> str:
        if not piece[0].startswith("\\"):
            return piece[0] if seen(piece[0]) else escape(piece[0])
        following = text[piece.end() : piece.end() + 1]
        misread = following and (following in "nrtxuU" or not seen(following))
        return piece[0] * 2 if misread else piece[0]

    return _PIECES.sub(shown, text)


def one_line(text: str) -> str:
    """Return a text as `visible` does, in one line: a break becomes an escape too."""
    return visible(text).replace("\n", "\\n")


def warn(text: str, *, stacklevel: int = 1) -> None:
    """Warn as `warnings.warn` does, at the caller with 1; what stands in the text does not act."""
    warnings.warn(visible(text), UserWarning, stacklevel=stacklevel + 1)


def is_shown(character: str) -> bool:
    """Whether a character is seen as what it is, and does nothing else."""
    return character.isprintable() and character not in _BLANK


def escape(character: str) -> str:
    """Return the escape that Python and YAML read as a character."""
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _stands_alone(character: str) -> bool:
    """Whether a character neither joins the one before it nor is another spelling of some other one."""
    if not is_shown(character) or unicodedata.combining(character) or _JAMO[0] <= character <= _JAMO[1]:
        return False
    return unicodedata.is_normalized("NFC", character)
