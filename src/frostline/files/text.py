"""What text in a file is encoded in: a byte order mark is no part of it, and UTF-16 is not UTF-8."""

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

    Without a mark, UTF-16 and UTF-32 have a zero byte beside every ASCII letter, which no text in UTF-8 has.
    """
    for mark, name in _OTHERS.items():
        if raw.startswith(mark):
            return name
    return "UTF-16, UTF-32 or no text at all" if b"\0" in raw else None


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
