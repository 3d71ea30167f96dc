"""Files are written whole or not at all, and read with errors that say what to do. Tests may run as root."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from frostline.errors import ModelFileError, PlanFileError
from frostline.files.atomic import write_atomically
from frostline.files.reading import read_text


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write_atomically(path, "größer\r\n".encode(), PlanFileError)
    assert path.read_bytes() == "größer\r\n".encode()
    assert read_text(path, PlanFileError, "plan file").startswith("größer")
    assert names_in(tmp_path) == ["plan.yaml"]


def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "plan.yaml", b"", PlanFileError)
    finally:
        os.umask(before)
    assert (tmp_path / "plan.yaml").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.chmod", "pathlib.Path.replace"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("old")

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(step, fail)
    with pytest.raises((PlanFileError, KeyboardInterrupt)) as caught:
        write_atomically(path, b"new", PlanFileError)
    assert isinstance(caught.value, PlanFileError) == isinstance(failure, OSError)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["plan.yaml"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    path = tmp_path / "plan.yaml"
    with pytest.raises(PlanFileError) as caught:
        write_atomically(path, b"new", PlanFileError)
    assert str(caught.value) == (
        f"cannot write '{path}': No space left on device.\n"
        "  expected: room for the file on its disk\n"
        "  fix:      make room there, or name another disk"
    )
    assert names_in(tmp_path) == []


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(ModelFileError, match=r"^cannot write '.*': Permission denied\.\n"):
        write_atomically(tmp_path / "receipt.json", b"new", ModelFileError)
    assert names_in(tmp_path) == []


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    for path, why in (
        (tmp_path / "file" / "plan.yaml", "Not a directory"),
        (tmp_path / "missing" / "plan.yaml", "No such file or directory"),
        (tmp_path / "folder", "Is a directory"),
    ):
        with pytest.raises(PlanFileError) as caught:
            write_atomically(path, b"new", PlanFileError)
        assert caught.value.what == f"cannot write '{path}': {why}"
    assert names_in(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_what_a_link_leads_to_is_written(tmp_path: Path) -> None:
    """A link stays a link, whether what it leads to is there yet or not."""
    for name in ("there", "missing"):
        link, target = tmp_path / f"{name}.link", tmp_path / f"{name}.yaml"
        if name == "there":
            target.write_text("old")
        link.symlink_to(target.name)
        write_atomically(link, b"new", PlanFileError)
        assert link.is_symlink()
        assert target.read_text() == "new"


def message_of_reading(path: Path) -> str:
    with pytest.raises(PlanFileError) as caught:
        read_text(path, PlanFileError, "plan file")
    return str(caught.value)


def test_a_missing_file_names_what_is_there(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "c.txt"):
        (tmp_path / name).write_text("")
    assert message_of_reading(tmp_path / "plan.yaml") == (
        f"there is no plan file '{tmp_path}/plan.yaml'.\n"
        f"  fix:      the folder '{tmp_path}' has a.yaml, b.yaml"
    )
    missing = tmp_path / "missing" / "plan.yaml"
    assert message_of_reading(missing) == f"there is no plan file '{missing}'."


def test_a_file_that_is_not_utf8_names_the_byte_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"frostline: 1\n# caf\xe9\n")
    assert message_of_reading(path) == (
        f"the plan file '{path}' is not text in UTF-8.\n  received: byte 0xe9 on line 2"
    )


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert message_of_reading(tmp_path) == f"the plan file '{tmp_path}' cannot be read: Is a directory."
