"""Which file may be meant where one is not there."""

from __future__ import annotations

from pathlib import Path

from frostline.errors import listed, near

_MOST = 10_000
"""Names that are looked at: a folder of a million images is not a place to look for a spelling."""


def similar_files(path: Path, *endings: str) -> str | None:
    """Say what stands in the folder of a missing file, as the remedy of an error.

    Args:
        path: What is not there.
        endings: Of the names that could be meant; without them, every name.

    Returns:
        The names that look like that of `path`, else all of them; None where the folder has none, or cannot
        be looked into.
    """
    try:
        every = [found.name for found, _ in zip(path.parent.iterdir(), range(_MOST), strict=False)]
    except (OSError, ValueError):
        return None
    names = sorted(
        name for name in every if (Path(name).suffix in endings if endings else not name.startswith("."))
    )
    meant = near(path.name, names) or names
    return f"the folder {str(path.parent)!r} has {listed(meant)}" if meant else None
