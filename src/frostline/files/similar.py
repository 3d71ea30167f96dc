"""Which file may be meant where one is not there."""

from __future__ import annotations

from pathlib import Path

from frostline.errors import listed, near


def similar_files(path: Path, *endings: str) -> str | None:
    """Say what stands in the folder of a missing file, as the remedy of an error.

    Args:
        path: What is not there.
        endings: Of the names that could be meant; without them, every name.

    Returns:
        The names that look like that of `path`, else all of them; None where the folder has none.
    """
    if not path.parent.is_dir():
        return None
    names = sorted(
        p.name
        for p in path.parent.iterdir()
        if (p.suffix in endings if endings else not p.name.startswith("."))
    )
    meant = near(path.name, names) or names
    return f"the folder {str(path.parent)!r} has {listed(meant)}" if meant else None
