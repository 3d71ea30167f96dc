"""Whatever is read: what is not a file, or cannot be one, is refused at once and in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from frostline.errors import PlanFileError
from frostline.files.reading import kind_of, opened, read_bytes
from helpers.no_files import HOSTILE, check_no_file, check_no_name
from helpers.readers import PLAIN, READERS, placed


@pytest.fixture(params=PLAIN)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_whole_file_is_read(name: str, tmp_path: Path) -> None:
    READERS[name].read(placed(READERS[name], tmp_path))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_is_no_file_is_refused_and_never_waited_for(name: str, tmp_path: Path, hostile: str) -> None:
    if (name, hostile) != ("digest", "a folder"):  # of which the names count
        check_no_file(name, tmp_path, hostile)


@pytest.mark.parametrize("impossible", ["x" * 256, "a\0b", "x" * 5000])
def test_a_name_that_no_file_can_have(name: str, tmp_path: Path, impossible: str) -> None:
    check_no_name(name, tmp_path, impossible)


def test_a_file_is_what_its_descriptor_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanged between a look and the opening, it is refused all the same."""
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"x")
    assert kind_of(path) == "file"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PlanFileError, match="it is not a file"), opened(path, PlanFileError, "plan file"):
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
