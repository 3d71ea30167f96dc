"""Whatever is read: what is no file, or cannot be one, is refused at once and in words."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from frostline.errors import FrostlineError, PlanFileError
from frostline.files.reading import kind_of, opened, read_bytes
from helpers.readers import READERS, Reader, placed


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    return READERS[request.param]


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
    "a named pipe": (pipe, ("it is no file.\n  received: a named pipe\n  expected: a regular file",)),
    "a device": (device, ("it is no file.\n  received: a device\n  expected: a regular file",)),
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


def test_a_whole_file_is_read(reader: Reader, tmp_path: Path) -> None:
    assert reader.read(placed(reader, tmp_path)) is not False


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_file_is_refused_and_never_waited_for(reader: Reader, tmp_path: Path, name: str) -> None:
    if reader is READERS["digest"] and name == "a folder":
        return  # of which the names count
    make, texts = HOSTILE[name]
    path = placed(reader, tmp_path)
    path.unlink()
    make(path)
    said = refused(reader, path)
    assert any(text in said for text in texts), said


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", "x" * 5000])
def test_a_name_that_no_file_can_have(reader: Reader, tmp_path: Path, name: str) -> None:
    if reader.error.__name__ == "ResumeError" or "adapter" in reader.name:
        path = tmp_path / name / reader.name
    else:
        path = tmp_path / (name + Path(reader.name).suffix)
    refused(reader, path)
    if not path.name.startswith("x"):
        return
    refused(reader, tmp_path / name / reader.name)


def test_a_file_is_what_its_descriptor_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanged between a look and the opening, it is refused all the same."""
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"x")
    assert kind_of(path) == "file"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PlanFileError, match="it is no file"), opened(path, PlanFileError, "plan file"):
        pass


def test_a_file_larger_than_its_kind_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"x" * 11)
    with pytest.raises(PlanFileError) as caught:
        read_bytes(path, PlanFileError, "plan file", most=10)
    assert str(caught.value) == (
        f"the plan file '{path}' is too large to be one.\n"
        "  received: 11 bytes\n"
        "  expected: at most 10\n"
        "  fix:      see whether another file was meant"
    )
    assert read_bytes(path, PlanFileError, "plan file", most=11) == b"x" * 11


def test_a_file_with_some_holes_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    with path.open("wb") as stream:
        stream.write(b"x" * (2 << 20))
        stream.truncate(100 << 20)
    assert len(read_bytes(path, PlanFileError, "plan file")) == 100 << 20
