"""Masks beside a plan file: found, checked, and never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

import frostline as fl
from helpers.elements import MASK
from helpers.messages import message_of_loading


def with_mask(folder: Path, content: bytes, digest: str | None = None) -> Path:
    """A plan file with a mask beside it."""
    (folder / "masks").mkdir()
    (folder / "masks" / "kernel.npy").write_bytes(content)
    digest = digest or blake3(content).hexdigest()
    text = (
        f"frostline: 1\nrules:\n- train: a\n  mask: {{file: masks/kernel.npy, digest: 'blake3:{digest}'}}\n"
    )
    (folder / "plan.yaml").write_text(text)
    return folder / "plan.yaml"


def npy(folder: Path, array: Any, *, allow_pickle: bool = False) -> bytes:
    np.save(folder / "made.npy", array, allow_pickle=allow_pickle)
    content = (folder / "made.npy").read_bytes()
    (folder / "made.npy").unlink()
    return content


def test_a_mask_is_found_from_the_folder_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_mask(tmp_path, npy(tmp_path, MASK))
    monkeypatch.chdir("/")
    assert fl.Plan.load(path) == fl.Plan().train("a", mask=MASK)


def test_a_mask_that_is_not_there(tmp_path: Path) -> None:
    path = with_mask(tmp_path, npy(tmp_path, MASK))
    (tmp_path / "masks" / "kernel.npy").rename(tmp_path / "masks" / "kernal.npy")
    assert message_of_loading(fl.Plan.load, path) == (
        f"{path}, line 4: there is no mask '{tmp_path}/masks/kernel.npy'.\n"
        "  expected: a .npy file of booleans, named relative to the folder of the plan\n"
        f"  fix:      the folder '{tmp_path}/masks' has kernal.npy"
    )


def test_another_mask_than_the_plan_was_written_for(tmp_path: Path) -> None:
    content = npy(tmp_path, MASK)
    path = with_mask(tmp_path, content, "0" * 64)
    assert message_of_loading(fl.Plan.load, path) == (
        f"{path}, line 4: the mask '{tmp_path}/masks/kernel.npy' is not the one that the plan was written "
        "for.\n"
        f"  received: a file with the digest blake3:{blake3(content).hexdigest()}\n"
        f"  expected: blake3:{'0' * 64}\n"
        "  fix:      put the right file there; if this one is meant, write its digest into the plan"
    )


def test_a_mask_of_another_dtype(tmp_path: Path) -> None:
    path = with_mask(tmp_path, npy(tmp_path, MASK.astype("int8")))
    assert message_of_loading(fl.Plan.load, path) == (
        f"{path}, line 4: the mask '{tmp_path}/masks/kernel.npy' does not hold booleans.\n"
        "  received: shape (2, 3), dtype int8\n"
        "  expected: dtype bool, True where an element is meant\n"
        "  fix:      save it as numpy.save('mask.npy', array > 0)"
    )


def test_a_mask_with_python_objects_is_not_unpickled(tmp_path: Path) -> None:
    content = npy(tmp_path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    path = with_mask(tmp_path, content)
    assert message_of_loading(fl.Plan.load, path) == (
        f"{path}, line 4: the mask '{tmp_path}/masks/kernel.npy' cannot be read.\n"
        f"  received: {len(content)} bytes; it holds Python objects, which are never unpickled\n"
        "  expected: a file that numpy.save wrote, without Python objects"
    )


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr': '|b1'"])
def test_a_damaged_mask(tmp_path: Path, content: bytes) -> None:
    path = with_mask(tmp_path, content)
    said = message_of_loading(fl.Plan.load, path)
    assert said.startswith(f"{path}, line 4: the mask '{tmp_path}/masks/kernel.npy' cannot be read.\n")
    assert said.endswith("  expected: a file that numpy.save wrote, without Python objects")
