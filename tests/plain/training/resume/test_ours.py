"""What is not a checkpoint of Frostline's is named and never touched; errors of reading remove nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline.errors import ResumeError
from frostline.files.lock import LOCK
from frostline.training.resume import checkpoint
from frostline.training.resume.checkpoint import Checkpoint


def a_run(folder: Path, epochs: int = 2) -> None:
    for epoch in range(epochs):
        checkpoint.write(folder, Checkpoint(epoch, {}, {"a": np.arange(3)}))


def everything(folder: Path) -> dict[str, Any]:
    """What is in a folder, to the bytes and the inodes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        held = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (path.lstat().st_ino, held)
    return found


def folder_of_mine(folder: Path) -> None:
    (folder / "epoch-best").mkdir()
    (folder / "epoch-best" / "mine.txt").write_text("mine")


def finished_of_mine(folder: Path) -> None:
    (folder / "finished").mkdir()
    (folder / "finished" / "paper.tex").write_text("mine")


def empty_folder(folder: Path) -> None:
    (folder / "finished").mkdir()


def of_another_tool(folder: Path) -> None:
    (folder / "epoch-000007").mkdir()
    (folder / "epoch-000007" / "state.json").write_text('{"step": 7}')
    (folder / "epoch-000007" / "arrays.safetensors").write_bytes(b"theirs")


def file_of_mine(folder: Path) -> None:
    (folder / "finished").write_text("yes")


def link_elsewhere(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    a_run(other)
    (folder / "epoch-000001").symlink_to(other / "epoch-000001")


def link_to_nothing(folder: Path) -> None:
    (folder / "finished").symlink_to(folder / "nowhere")


def note_in_a_checkpoint(folder: Path) -> None:
    a_run(folder)
    (folder / "epoch-000001" / "note.txt").write_text("the best one")


STRANGE: list[Callable[[Path], None]] = [
    folder_of_mine,
    finished_of_mine,
    empty_folder,
    of_another_tool,
    file_of_mine,
    link_elsewhere,
    link_to_nothing,
    note_in_a_checkpoint,
]


@pytest.fixture(params=STRANGE, ids=lambda one: one.__name__)
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    request.param(tmp_path / "runs")
    return tmp_path / "runs"


def reserve(folder: Path) -> Checkpoint | None:
    with checkpoint.reserved(folder):
        return checkpoint.latest(folder)


def test_what_is_not_ours_is_refused_and_stays(strange: Path) -> None:
    before = everything(strange)
    for act in (reserve, checkpoint.latest):
        with pytest.raises(ResumeError, match="stands where checkpoints go, and is not Frostline's alone"):
            act(strange)
        assert everything(strange) == before


def test_what_is_not_ours_survives_checkpoints_beside_it_and_their_removal(strange: Path) -> None:
    before = everything(strange)
    for epoch in (20, 21, 22):
        checkpoint.write(strange, Checkpoint(epoch, {}, {}))
    checkpoint.remove_all(strange)
    left = everything(strange)
    assert {name for name in left if name.startswith("epoch-00002")} == set()
    mine = {n: one for n, one in before.items() if not n.startswith(("epoch-000000", "epoch-000001"))}
    assert left.items() >= mine.items()


def test_a_name_that_is_taken_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "epoch-000002").mkdir()
    (tmp_path / "epoch-000002" / "mine.txt").write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(ResumeError, match="with mine"):
        checkpoint.write(tmp_path, Checkpoint(2, {}, {}))
    assert everything(tmp_path) == before


def test_other_names_are_nobodys_business(tmp_path: Path) -> None:
    for name in ("log.csv", "best.keras", "my-epoch-1", ".epoch-notes", ".finished"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".epoch-000003.77").mkdir()
    (tmp_path / ".epoch-000003.77" / "thesis.txt").write_text("mine")
    before = everything(tmp_path)
    assert reserve(tmp_path) is None
    a_run(tmp_path, 4)
    assert everything(tmp_path).items() >= before.items()


def failing(method: str, number: int, name: str) -> Callable[..., Any]:
    real = getattr(*FAILING[method])

    def fail(path: Any, *more: Any, **named: Any) -> Any:
        path = Path(path)
        if name in (path.name, path.parent.name):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *more, **named)

    return fail


FAILING = {"open": (os, "open"), "iterdir": (Path, "iterdir")}
ERRORS = [
    ("open", "state.json"),
    ("open", "arrays.safetensors"),
    ("open", "epoch-000001"),
    ("iterdir", "epoch-000001"),
    ("iterdir", "runs"),
]


@pytest.mark.parametrize("number", [5, 13, 24], ids=os.strerror)
@pytest.mark.parametrize(("method", "name"), ERRORS)
def test_an_error_of_reading_is_an_error_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, name: str, number: int
) -> None:
    folder = tmp_path / "runs"
    a_run(folder_made(folder))
    before = everything(folder)
    monkeypatch.setattr(*FAILING[method], failing(method, number, name))
    with pytest.raises(ResumeError) as caught:
        reserve(folder)
    monkeypatch.undo()
    assert f"{os.strerror(number)} (errno {number})" in str(caught.value)
    assert str(folder) in str(caught.value)
    assert {n: one for n, one in everything(folder).items() if n != LOCK} == before
    found = reserve(folder)
    assert found is not None
    assert found.epoch == 1


def folder_made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_rename_that_fails_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(tmp_path)
    before = everything(tmp_path)
    real = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == f".epoch-000001.{os.getpid()}":
            raise OSError(5, "Input/output error", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ResumeError, match="Input/output error"):
        checkpoint.write(tmp_path, Checkpoint(1, {"another": 1}, {}))
    assert everything(tmp_path) == before


def test_a_checkpoint_of_0_1_is_ours_by_its_state(tmp_path: Path) -> None:
    a_run(tmp_path)
    for place in tmp_path.glob("epoch-*"):
        (place / "checkpoint.json").unlink()
    found = reserve(tmp_path)
    assert found is not None
    assert found.epoch == 1
    state = tmp_path / "epoch-000001" / "state.json"
    state.write_bytes(state.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="state.json is not whole"):
        assert reserve(tmp_path) is not None
    # Without its state nothing says whose it is.
    state.unlink()
    with pytest.raises(ResumeError, match="carries no manifest of Frostline's, with arrays"):
        reserve(tmp_path)


@pytest.fixture
def litter(tmp_path: Path) -> Iterator[Path]:
    yield folder_made(tmp_path / ".epoch-000004.123")


def test_what_a_killed_run_was_writing_goes(litter: Path) -> None:
    (litter / "checkpoint.json").write_text('{"frostline_checkpoint": 1}')
    (litter / "arrays.safetensors").write_bytes(b"half")
    (litter / ".state.json.abc.json").write_bytes(b"")
    assert reserve(litter.parent) is None
    assert not litter.exists()


def test_damaged_checkpoints_of_later_epochs_outlive_a_run_that_begins_anew(tmp_path: Path) -> None:
    a_run(tmp_path, 6)
    for place in tmp_path.glob("epoch-*"):
        (place / "state.json").write_text("{")
    with pytest.warns(UserWarning, match="is discarded"):
        assert reserve(tmp_path) is None
    checkpoint.write(tmp_path, Checkpoint(0, {}, {}))
    names = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert names == ["epoch-000000", "epoch-000004", "epoch-000005"]
    checkpoint.write(tmp_path, Checkpoint(1, {}, {}, finished=True))
    names = sorted(path.name for path in tmp_path.glob("[ef]*"))
    assert names == ["epoch-000000", "finished"]


@pytest.mark.parametrize("content", [b"mine", b"\x00mine", b"#" * 99])
def test_a_lock_of_another_program_is_not_emptied(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    with pytest.raises(ResumeError, match="cannot be locked"):
        reserve(tmp_path)
    assert (tmp_path / LOCK).read_bytes() == content


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("7")
    (tmp_path / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(ResumeError, match="cannot be locked"):
        reserve(tmp_path)
    assert (tmp_path / "mine").read_text() == "7"
