"""What a killed writer leaves behind goes with the next write of the same file; nothing else ever does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frostline.errors import PlanFileError
from frostline.files import abandoned
from frostline.files.abandoned import begin_of_temporary, remove_abandoned
from frostline.files.atomic import replaced_atomically, write_atomically

WRITER = """
import sys, time
from pathlib import Path
from frostline.errors import PlanFileError
from frostline.files.atomic import replaced_atomically
with replaced_atomically(Path(sys.argv[1]), PlanFileError) as temporary:
    temporary.write_bytes(b"half")
    print("written", flush=True)
    time.sleep(60)
"""


def killed_while_writing(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("old")
    killed_while_writing(path)
    left = [name for name in names(tmp_path) if name != "plan.yaml"]
    assert len(left) == 1
    assert ".frostline-" in left[0]
    assert path.read_text() == "old"
    write_atomically(tmp_path / "other.yaml", b"x", PlanFileError)
    assert left[0] in names(tmp_path)
    write_atomically(path, b"new", PlanFileError)
    assert names(tmp_path) == ["other.yaml", "plan.yaml"]
    assert path.read_text() == "new"


def test_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        with replaced_atomically(path, PlanFileError) as mine:
            mine.write_bytes(b"mine")
            write_atomically(path, b"between", PlanFileError)
            assert len(names(tmp_path)) == 3
        process.kill()
    assert path.read_bytes() == b"mine"


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_files_that_only_look_like_it_stay(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    number, machine = dead(), abandoned._machine()
    others = (
        *(".plan.yaml", ".plan.yaml.abcdefgh.yaml", f".plan.yaml.{number}", ".plan.yaml.swp", "plan.yaml~"),
        f"plan.yaml.{number}.{machine}.frostline-abcdefgh.yaml",
        f".plan.yaml.{number}.{machine}.frostline-abc",
        f".plan.yaml.{os.getpid()}.{machine}.frostline-abcdefgh.yaml",
        f".plan.yaml.{number}.00000000.frostline-abcdefgh.yaml",
        f".plan2.yaml.{number}.{machine}.frostline-abcdefgh.yaml",
    )
    for name in others:
        (tmp_path / name).write_text("theirs")
    (tmp_path / f".plan.yaml.{number}.{machine}.frostline-folder00.yaml").mkdir()
    (tmp_path / f".plan.yaml.{number}.{machine}.frostline-alink000.yaml").symlink_to(tmp_path / ".plan.yaml")
    before = names(tmp_path)
    ours = tmp_path / f".plan.yaml.{number}.{machine}.frostline-abcdefgh.yaml"
    ours.write_text("half")
    remove_abandoned(path)
    assert names(tmp_path) == before


def test_of_another_machine_only_what_is_a_day_old_goes(tmp_path: Path) -> None:
    fresh = tmp_path / f".plan.yaml.{os.getpid()}.00000000.frostline-abcdefgh.yaml"
    old = tmp_path / f".plan.yaml.{os.getpid()}.00000000.frostline-ijklmnop.yaml"
    for path in (fresh, old):
        path.write_text("half")
    os.utime(old, (time.time() - 90_000,) * 2)
    remove_abandoned(tmp_path / "plan.yaml")
    assert names(tmp_path) == [fresh.name]


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 120 + ".yaml", "a b*[c].yaml"])
def test_any_name_that_a_file_can_have_can_be_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert begin_of_temporary(path) != begin_of_temporary(tmp_path / f"{name[:-1]}y")
    killed_while_writing(path)
    write_atomically(path, b"new", PlanFileError)
    assert names(tmp_path) == [name]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(("name", "why"), [("x" * 256, "File name too long"), ("a\0b", "null")])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(PlanFileError, match=rf"^cannot write '.*': .*{why}"):
        write_atomically(tmp_path / name, b"new", PlanFileError)
    assert names(tmp_path) == []
