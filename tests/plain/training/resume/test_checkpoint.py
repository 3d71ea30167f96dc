"""Checkpoints on disk: whole or not there, and never used when damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from frostline.errors import ResumeError
from frostline.training.resume import checkpoint
from frostline.training.resume.checkpoint import Checkpoint

ARRAYS = {
    "matrix": np.arange(6, dtype="float32").reshape(2, 3),
    "scalar": np.array(7, "int64"),
    "nothing": np.zeros((0, 3), "float16"),
    "half": np.array([1.5, -2.25], ml_dtypes.bfloat16),
    "tiny": np.array([1.5, -2.0], ml_dtypes.float8_e4m3fn),
    "seed": np.array([2**32 - 1, 0], "uint32"),
    "flags": np.array([True, False]),
    "turned": np.arange(6, dtype="float64").reshape(2, 3).T,
}
STATE = {"loss": [0.1, float("nan"), float("inf")], "name": "größe", "none": None}


def sample(epoch: int, *, finished: bool = False) -> Checkpoint:
    return Checkpoint(epoch, STATE, ARRAYS, finished)


def names(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir() if place.name != ".lock")


def test_all_comes_back_bit_for_bit(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, sample(3))
    found = checkpoint.read(tmp_path / "epoch-000003")
    assert (found.epoch, found.finished) == (3, False)
    assert repr(found.state) == repr(STATE)
    assert list(found.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()
        assert found.arrays[name].flags.writeable


def test_the_last_two_stay(tmp_path: Path) -> None:
    for epoch in range(4):
        checkpoint.write(tmp_path, sample(epoch))
    assert names(tmp_path) == ["epoch-000002", "epoch-000003"]
    checkpoint.write(tmp_path, sample(4, finished=True))
    assert names(tmp_path) == ["epoch-000003", "finished"]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.finished


def test_an_empty_folder_holds_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE: list[tuple[Callable[[Path], None], str, str]] = [
    (flipped, "arrays.safetensors", "arrays.safetensors is not what was written"),
    (cut, "arrays.safetensors", "arrays.safetensors is not what was written"),
    (Path.unlink, "arrays.safetensors", "arrays.safetensors is missing"),
    (cut, "state.json", "state.json is not whole"),
    (emptied, "state.json", "state.json is not whole"),
    (Path.unlink, "state.json", "state.json is missing"),
]


@pytest.mark.parametrize(("damage", "file", "why"), DAMAGE, ids=lambda one: getattr(one, "__name__", None))
def test_what_is_damaged_is_discarded(
    tmp_path: Path, damage: Callable[[Path], None], file: str, why: str
) -> None:
    checkpoint.write(tmp_path, sample(1))
    checkpoint.write(tmp_path, sample(2))
    damage(tmp_path / "epoch-000002" / file)
    with pytest.warns(UserWarning, match="is discarded") as caught:
        found = checkpoint.latest(tmp_path)
    assert [str(warning.message) for warning in caught] == [
        f"the checkpoint {str(tmp_path / 'epoch-000002')!r} is discarded: {why}; the one before it is "
        "used, or the run starts over if there is none"
    ]
    assert found is not None
    assert found.epoch == 1
    # It stays until a newer one stands in its place.
    assert names(tmp_path) == ["epoch-000001", "epoch-000002"]
    checkpoint.write(tmp_path, sample(2))
    assert checkpoint.read(tmp_path / "epoch-000002").epoch == 2
    assert names(tmp_path) == ["epoch-000001", "epoch-000002"]


def test_every_flipped_bit_of_the_state_is_found(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, sample(1))
    path = tmp_path / "epoch-000001" / "state.json"
    whole = path.read_bytes()
    unseen = []
    for place in range(0, len(whole), 7):
        raw = bytearray(whole)
        raw[place] ^= 1 << (place % 8)
        path.write_bytes(raw)
        try:
            found = checkpoint.read(path.parent)
        except ValueError:
            continue
        # White space between values, written otherwise.
        if repr(found.state) != repr(STATE) or found.epoch != 1:
            unseen.append(place)
    assert unseen == []


def test_a_newer_version_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SCHEMA", 2)
    checkpoint.write(tmp_path, sample(1))
    monkeypatch.undo()
    with pytest.raises(ResumeError) as caught:
        checkpoint.latest(tmp_path)
    assert str(caught.value) == (
        f"the checkpoint {str(tmp_path / 'epoch-000001')!r} was written by another version of Frostline.\n"
        "  received: a checkpoint of version 2\n"
        "  expected: one of version 1\n"
        "  fix:      continue with the version that wrote it, or name another folder"
    )
    assert names(tmp_path) == ["epoch-000001"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResumeError, match="cannot be used: Permission denied"):
        checkpoint.reserved(tmp_path / "run").__enter__()
    tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ResumeError) as caught, checkpoint.reserved(tmp_path / "run"):
        pass
    assert str(caught.value) == (
        f"the checkpoint folder {str(tmp_path / 'run')!r} cannot be used: File exists.\n"
        "  expected: a folder that exists or can be made, and that you may write to\n"
        "  fix:      name another folder"
    )


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, sample(1))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResumeError, match="No space left on device"):
        checkpoint.write(tmp_path, sample(2))
    assert names(tmp_path) == ["epoch-000001"]


def test_a_folder_in_use(tmp_path: Path) -> None:
    """By this process under another handle, which is another run for the system."""
    with checkpoint.reserved(tmp_path):
        with pytest.raises(ResumeError) as caught, checkpoint.reserved(tmp_path):
            pass
        assert str(caught.value) == (
            f"the checkpoint folder {str(tmp_path)!r} is in use by another run.\n"
            f"  received: process {os.getpid()} writes to it\n"
            "  fix:      wait until it ends, or name another folder"
        )
    with checkpoint.reserved(tmp_path):
        pass


def test_a_dead_process_holds_nothing_and_leaves_no_litter(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from frostline.training.resume import checkpoint\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "checkpoint.reserved(folder).__enter__()\n"
        "(folder / '.epoch-000004.123').mkdir(); (folder / '.finished.123').mkdir()\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert names(tmp_path) == [".epoch-000004.123", ".finished.123"]
    with checkpoint.reserved(tmp_path):
        assert names(tmp_path) == []


def test_leaving_a_block_by_an_error_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the training"), checkpoint.reserved(tmp_path):
        raise FileNotFoundError("of the training")
    with checkpoint.reserved(tmp_path):
        pass
