"""Files that Frostline writes for others to edit: each is read again before it takes its name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from frostline.errors import FrostlineError
from frostline.files.document import Format
from frostline.files.yaml_reader import read_document


def require_means(text: str, meant: Any, name: Path, format_: Format) -> None:
    """Raise where a text would be read as anything else than what it was written for.

    Labels, names of files and of layers stand in such a text. By the reader itself, and by all its rules.

    Args:
        text: What is to be written.
        meant: The plain data that a reader is to find.
        name: Of the file, for the message; its ending says whether it is JSON.
        format_: Of the file.

    Raises:
        FrostlineError: It is read as something else (the class of the format).
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"generated{name.suffix}"
        try:
            place.write_bytes(text.encode())
            found = read_document(place, format_).data
        except (FrostlineError, UnicodeEncodeError) as error:
            raise format_.in_file(
                f"{str(name)!r} is not written: it could not be read again",
                received=str(error).replace(str(place), str(name)),
                remedy="rename what stands in it under a strange name",
            ) from None
    if found != meant:
        raise format_.in_file(
            f"{str(name)!r} is not written: it would say something else than is meant",
            received=_differences(found, meant),
            remedy="rename what stands in it under a strange name",
        )


def _differences(found: Any, meant: Any) -> str:
    """Name the first keys that differ."""
    if not isinstance(found, dict) or not isinstance(meant, dict):
        return f"{found!r} in place of {meant!r}"
    keys = [key for key in {**meant, **found} if found.get(key) != meant.get(key)]
    return "; ".join(f"{key}: {found.get(key)!r} in place of {meant.get(key)!r}" for key in keys[:3])
