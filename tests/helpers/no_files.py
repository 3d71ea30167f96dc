"""What stands under a name and is not a file, and what readers say of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from frostline.errors import FrostlineError
from helpers.readers import READERS, Reader, placed


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def itself(path: Path) -> None:
    path.symlink_to(path.name)


def holes(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


HOSTILE: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "a named pipe": (pipe, ("it is not a file.\n  received: a named pipe\n  expected: a regular file",)),
    "a device": (device, ("it is not a file.\n  received: a device\n  expected: a regular file",)),
    "a folder": (folder, ("Is a directory", "is a folder", "is not a")),
    "a link to itself": (itself, ("Too many levels of symbolic links", "there is no ", "is missing")),
    "a file of holes": (
        holes,
        (
            "nearly all of it is holes.\n  received: 1,099,511,627,776 bytes, of which 0 were ever written\n",
            "is too large to be one.\n  received: 1,099,511,627,776 bytes\n",
        ),
    ),
}


def refused(reader: Reader, path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(FrostlineError) as caught:
        reader.read(path)
    assert time.monotonic() - began < 2
    assert isinstance(caught.value, reader.error)
    return str(caught.value)


def check_no_file(name: str, folder: Path, hostile: str) -> None:
    """A reader refuses what is not a file, and never waits for it."""
    reader = READERS[name]
    make, texts = HOSTILE[hostile]
    path = placed(reader, folder)
    path.unlink()
    make(path)
    said = refused(reader, path)
    assert any(text in said for text in texts), said


def check_no_name(name: str, folder: Path, impossible: str) -> None:
    """A reader refuses a name that no file can have."""
    reader = READERS[name]
    path = folder / (impossible + Path(reader.name).suffix)
    if "adapter" in reader.name or reader.error.__name__ == "ResumeError":
        path = folder / impossible / reader.name
    refused(reader, path)
    refused(reader, folder / impossible / reader.name)
