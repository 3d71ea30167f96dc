"""Weights in a `.keras` archive that are a trap: Keras would follow them, and Frostline does not."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import frostline as fl
from helpers.small_models import two_dense


def packed_zeros(file: Any) -> None:
    file.create_dataset("x", shape=(200 << 20,), dtype="u1", chunks=(1 << 20,), compression="gzip")


def never_written(file: Any) -> None:
    file.create_dataset("x", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,))


def of_another_file(file: Any) -> None:
    file.create_dataset("x", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])


def link_elsewhere(file: Any) -> None:
    file["x"] = h5py.ExternalLink("/etc/passwd", "/")


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", shape=(4,))
    file.create_virtual_dataset("x", layout)


TRAPS: dict[str, tuple[Callable[[Any], None], str]] = {
    "packed zeros": (packed_zeros, "what holds the weights unpacks from "),
    "numbers that were never written": (never_written, "to 4,398,046,511,104, where at most 67,108,864 are"),
    "numbers of another file": (
        of_another_file,
        "its weights take 'x' from another file, which is not followed",
    ),
    "a link to another file": (
        link_elsewhere,
        "its weights have a link to elsewhere, 'x', which is not followed",
    ),
    "a view of another file": (virtual, "its weights take 'x' from another file, which is not followed"),
}


def with_weights(path: Path, weights: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.weights.h5"] = weights
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    two_dense().save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.mark.parametrize("name", TRAPS)
def test_weights_that_are_a_trap_are_refused(plain: Path, name: str) -> None:
    make, text = TRAPS[name]
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        make(file)
    with_weights(plain, stream.getvalue())
    with pytest.raises(fl.FrostlineError) as caught:
        fl.load_model(plain)
    assert text in str(caught.value)
    assert type(caught.value).__name__ == "ModelFileError"


def test_weights_that_are_no_hdf5_are_refused(plain: Path) -> None:
    with_weights(plain, b"no weights")
    with pytest.raises(fl.FrostlineError, match="its weights are no whole HDF5 file"):
        fl.load_model(plain)


def test_an_honest_model_of_zeros_that_somebody_packed_opens(tmp_path: Path) -> None:
    model = two_dense()
    for variable in model.variables:
        variable.assign(np.zeros(variable.shape, "float32"))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "packed.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert not np.any(fl.load_model(tmp_path / "packed.keras").get_weights()[0])
