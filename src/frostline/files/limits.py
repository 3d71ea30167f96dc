"""What a file may ask of memory and time before it is looked into, and how a refusal is said."""

from __future__ import annotations

import re
from typing import Any

MOST_DEPTH = 100
"""How deep lists and mappings may stand in one another: Python's readers end at a thousand, by failing."""

MOST_DIGITS = 100
"""How long a written number may be: a double has 17 digits, a state of a random generator 39."""

MOST_TEXT = 32 << 20
"""Bytes of a file that is read as one text: receipts and states of the largest models have some millions.

One sign beyond the first 65,536 makes Python hold four bytes for each character, in each of several copies.
"""

MOST_LINE = 16 << 20
"""Bytes of one line of a table or of word vectors."""

FREE_UNPACKED = 64 << 20
"""So much may anything unpack to, whatever it is packed in."""

MOST_RATIO = 200
"""Beyond that, how many times its own size a file may unpack to.

Weights that were trained pack to nine tenths, masks and padded sequences to a hundredth; `deflate` ends at
a thousandth, where all is zeros. What is not packed, of any size, has a ratio of one.
"""


FREE_ELEMENTS = 4 << 20
"""So many numbers may a model make whose file does not hold them, such as a metric's tables of counts."""

MOST_UNFOLDED = 4
"""Beyond that, how many numbers a model may make for each one in its file: layers of users pack them."""


class UnreadableError(ValueError):
    """What stands in a file cannot be read; says why in one phrase: what was received, and what may be."""


class DamagedError(UnreadableError):
    """It is cut off or altered, as its own reader found; says what that said."""


class PickledError(UnreadableError):
    """It holds Python objects, and would run code to make them."""


def most_unpacked(packed: int) -> int:
    """Return how many bytes a file of so many may unpack to."""
    return max(FREE_UNPACKED, MOST_RATIO * packed)


def require_unpacked(packed: int, unpacked: int, what: str = "it") -> None:
    """Raise `UnreadableError` where a file says that it unpacks to more than anything honest does.

    Args:
        packed: How many bytes it has.
        unpacked: How many it says that it unpacks to.
        what: Names it in the message.
    """
    if unpacked > most_unpacked(packed):
        raise UnreadableError(
            f"{what} unpacks from {packed:,} bytes to {unpacked:,}, where at most {most_unpacked(packed):,} "
            "are read; if that is meant, write it without compression"
        )


def most_elements(stored: int) -> int:
    """Return how many numbers a model may make whose file holds so many."""
    return FREE_ELEMENTS + MOST_UNFOLDED * stored


def require_depth(depth: int, what: str = "lists or mappings") -> None:
    """Raise `UnreadableError` where something is nested deeper than is read."""
    if depth > MOST_DEPTH:
        raise UnreadableError(
            f"{what} are nested too deeply, or contain themselves: more than {MOST_DEPTH} levels"
        )


def require_digits(text: str) -> None:
    """Raise `UnreadableError` where a written number is longer than any that is meant."""
    if len(text) > MOST_DIGITS:
        raise UnreadableError(
            f"a number of {len(text):,} characters, {text[:12]}..., where numbers have at most {MOST_DIGITS}"
        )


_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def depth_of_json(text: str) -> int:
    """Return how deep the lists and mappings of a JSON text stand in one another, without reading it."""
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return 0
    depth = most = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        sign = found[0][0]
        if sign == '"':
            continue
        depth += 1 if sign in "[{" else -1
        most = max(most, depth)
    return most


def shortened(value: Any, most: int = 200) -> str:
    """Return `repr` of a value, cut where it is long: errors are read by people."""
    try:
        text = repr(value[: most + 1] if isinstance(value, str | bytes) else value)
    except (ValueError, RecursionError):
        # An integer of thousands of digits has none.
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= most else f"{text[:most]}..."
