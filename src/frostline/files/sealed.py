"""Plain data that carries a BLAKE3 digest of itself, so that a torn or altered file is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from blake3 import blake3

from frostline.files.json_text import as_in_json

SEAL = "blake3"
"""The key that the digest stands under, beside the data that it is of."""


class BrokenSealError(ValueError):
    """Data is not what it was when it was sealed.

    Attributes:
        claimed: What it says its digest is; None where it says nothing.
        found: What its digest is.
    """

    def __init__(self, claimed: Any, found: str) -> None:
        super().__init__("its own digest does not fit")
        self.claimed = claimed
        self.found = found


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with its digest.

    Args:
        data: What JSON can hold.
    """
    return {**data, SEAL: _digest(data)}


def unsealed(data: Any) -> dict[str, Any]:
    """Return data that `sealed` returned without its digest, perhaps in another process.

    Raises:
        BrokenSealError: It is not what was sealed.
    """
    if not isinstance(data, dict):
        raise BrokenSealError(None, _digest(data))
    rest = {key: value for key, value in data.items() if key != SEAL}
    found = _digest(rest)
    if data.get(SEAL) != found:
        raise BrokenSealError(data.get(SEAL), found)
    return rest


def _digest(data: Any) -> str:
    # Whoever reads a file knows the data as it comes out of JSON: a key 1 is "1" there, and sorted as text.
    data = as_in_json(data)
    return blake3(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
