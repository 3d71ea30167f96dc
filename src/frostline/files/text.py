"""What text in a file is encoded in: a byte order mark is not part of it, and UTF-16 is not UTF-8."""

from __future__ import annotations

import codecs
import unicodedata

_OTHERS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""By their byte order marks; the longer ones first, since one begins with another."""

SAVE_AS_UTF8 = "save it again as UTF-8, which editors and Excel offer as an encoding"


def without_mark(raw: bytes) -> bytes:
    """Return the beginning of a file in UTF-8 without a byte order mark, which Windows programs put there."""
    return raw.removeprefix(codecs.BOM_UTF8)


def other_encoding(raw: bytes) -> str | None:
    """Return the encoding that the beginning of a file tells of, where it is not UTF-8; else None.

    Without a mark, UTF-16 has a zero byte beside every ASCII letter, and UTF-32 three; UTF-8 has none.
    """
    for mark, name in _OTHERS.items():
        if raw.startswith(mark):
            return name
    # By place among four bytes, how many of the bytes are zero. Files that are not text have them anywhere.
    zeros = [_share_of_zeros(raw[place::4]) for place in range(4)]
    mostly = [share > _MOSTLY for share in zeros]
    if sum(mostly) == 3:
        return "UTF-32"
    return "UTF-16" if mostly in ([False, True] * 2, [True, False] * 2) else None


_MOSTLY = 0.7
"""Words of other alphabets stand between signs and digits."""


def _share_of_zeros(raw: bytes) -> float:
    return raw.count(0) / len(raw) if raw else 0.0


def is_plain(text: str) -> bool:
    """Whether a number is written as in tables; Python also reads `1_000` and digits of other scripts."""
    return text.isascii() and "_" not in text


def invisible_ends(text: str) -> str:
    """Return the invisible characters at the ends of a text, such as a mark in a file that was put together.

    Two names that differ by them look the same, and are two.
    """
    inner = text
    while inner and unicodedata.category(inner[0]) in ("Cf", "Cc"):
        inner = inner[1:]
    begin = text[: len(text) - len(inner)]
    while inner and unicodedata.category(inner[-1]) in ("Cf", "Cc"):
        inner = inner[:-1]
    return begin + text[len(begin) + len(inner) :]


def shown_invisible(characters: str) -> str:
    """Name invisible characters by their code points: `U+FEFF`."""
    return ", ".join(f"U+{ord(one):04X}" for one in dict.fromkeys(characters))
