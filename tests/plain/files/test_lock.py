"""A folder is one process's: others learn which, and a process that was killed blocks nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from frostline.errors import OutputFolderError
from frostline.files.lock import LOCK, locked, require_unlocked

CALLED = ("output folder", "name another folder")
HOLDER = """
import sys, time
from pathlib import Path
from frostline.errors import OutputFolderError
from frostline.files.lock import locked
with locked(Path(sys.argv[1]), OutputFolderError, "output folder", "name another folder"):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_another_process_is_named_and_blocks_nobody_once_it_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        message = (
            f"the output folder {str(tmp_path)!r} is in use by another run.\n"
            f"  received: process {holder.pid} writes to it\n"
            "  fix:      wait until it ends, or name another folder"
        )
        for _ in range(2):
            with pytest.raises(OutputFolderError) as caught:
                require_unlocked(tmp_path, OutputFolderError, *CALLED)
            assert str(caught.value) == message
            with pytest.raises(OutputFolderError) as caught, locked(tmp_path, OutputFolderError, *CALLED):
                pass
            assert str(caught.value) == message
        holder.kill()
    require_unlocked(tmp_path, OutputFolderError, *CALLED)
    with locked(tmp_path, OutputFolderError, *CALLED):
        pass


def test_an_error_in_the_block_is_no_error_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"^mine$"), locked(tmp_path, OutputFolderError, *CALLED):
        raise TimeoutError("mine")
    with locked(tmp_path, OutputFolderError, *CALLED):
        pass


def test_looking_changes_nothing(tmp_path: Path) -> None:
    require_unlocked(tmp_path, OutputFolderError, *CALLED)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path, OutputFolderError, *CALLED):
        written = (tmp_path / LOCK).read_bytes()
    require_unlocked(tmp_path, OutputFolderError, *CALLED)
    assert (tmp_path / LOCK).read_bytes() == written
