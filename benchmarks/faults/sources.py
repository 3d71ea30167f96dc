"""Draws the published programs that are re-created here: `python -m benchmarks.faults.sources` prints them.

`sources.json` keeps the list that was collected, why entries are left out, the seed, and what was drawn.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "sources.json"


def collected() -> dict[str, Any]:
    """The list, as it was collected."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def order(kept: dict[str, Any]) -> list[str]:
    """All entries that are not left out, in the order of the draw."""
    pool = sorted(entry["id"] for entry in kept["programs"] if "left_out" not in entry)
    random.Random(kept["seed"]).shuffle(pool)
    return pool


def draw(kept: dict[str, Any]) -> list[str]:
    """The first `count` of the order."""
    return order(kept)[: kept["count"]]


if __name__ == "__main__":
    told = {entry["id"]: entry["what"] for entry in collected()["programs"]}
    for name in draw(collected()):
        print(f"{name}: {told[name]}")
