"""What is said of a folder where a file is missing."""

from __future__ import annotations

from pathlib import Path

from frostline.files.similar import similar_files


def test_names_that_look_alike_come_alone(tmp_path: Path) -> None:
    for name in ("base.keras", "another-model-altogether.keras", "bse.npz"):
        (tmp_path / name).touch()
    assert similar_files(tmp_path / "bse.keras", ".keras") == f"the folder {str(tmp_path)!r} has base.keras"


def test_else_all_that_could_be_meant(tmp_path: Path) -> None:
    for name in ("c.npz", "a.csv", "b.npz", "notes.md", ".hidden"):
        (tmp_path / name).touch()
    assert similar_files(tmp_path / "data", ".npz", ".csv") == (
        f"the folder {str(tmp_path)!r} has a.csv, b.npz, c.npz"
    )
    assert similar_files(tmp_path / "wxyz") == (
        f"the folder {str(tmp_path)!r} has a.csv, b.npz, c.npz, notes.md"
    )


def test_nothing_is_said_where_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    assert similar_files(tmp_path / "a.npz", ".npz") is None
    assert similar_files(tmp_path / "missing" / "a.npz", ".npz") is None
