"""`frostline demo`: the main job on real data."""

from __future__ import annotations

NAME = "demo"
EXAMPLE = "Example: frostline demo --task digits"


def run() -> None:
    """Fine-tune on real data and prove it."""
