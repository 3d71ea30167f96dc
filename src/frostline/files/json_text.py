"""The one gate through which JSON is read, whoever wrote it."""

from __future__ import annotations

import json
from typing import Any

from frostline.files.limits import UnreadableError, depth_of_json, require_depth, require_digits, shortened

_MOST_VALUES = 2_000_000
"""Each takes some hundred bytes of memory, and three of a file."""


def parsed_json(text: str | bytes, *, keys_once: bool = True) -> Any:
    """Return what a JSON text says.

    Args:
        text: The text, or its bytes in UTF-8.
        keys_once: Whether to refuse a key that stands twice in one mapping, of which readers take the last.

    Raises:
        UnreadableError: It is nested too deeply, holds a number of too many digits, too many values, or a key
            twice, or is not text in UTF-8; says why in one phrase.
        json.JSONDecodeError: It is not JSON; knows the line. Like the other, a `ValueError`.
    """
    if isinstance(text, bytes | bytearray):
        text = _decoded(bytes(text))
    if sum(map(text.count, ",[{")) > _MOST_VALUES:
        raise UnreadableError(f"it holds more than {_MOST_VALUES:,} values")
    require_depth(depth_of_json(text))
    pairs = _once if keys_once else None
    return json.loads(text, parse_int=_whole, parse_float=_number, object_pairs_hook=pairs)


def as_in_json(data: Any) -> Any:
    """Return plain data as it comes back from a file: keys are texts there, and tuples lists."""
    return json.loads(json.dumps(data))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise UnreadableError(
            f"it is not text in UTF-8: byte {raw[problem.start]:#04x} at place {problem.start:,}"
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise UnreadableError(f"the key {shortened(twice)} stands twice in one mapping")
    return found


def _whole(text: str) -> int:
    require_digits(text)
    return int(text)


def _number(text: str) -> float:
    require_digits(text)
    return float(text)
