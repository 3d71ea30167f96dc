"""Every function that reads a file of whoever wrote it, by what it reads, and a whole file of its kind."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from frostline.data.csv_table import load_csv
from frostline.data.image_folder import ImageFiles
from frostline.data.npz import load_npz
from frostline.data.sources import CsvData, NpzData
from frostline.delta import peft_file
from frostline.delta.contents import BaseWeight, Delta, Entry
from frostline.errors import (
    DataError,
    DeltaError,
    FrostlineError,
    MatrixFileError,
    ModelFileError,
    PlanError,
    PlanFileError,
    ResumeError,
    RunConfigError,
)
from frostline.files.tensor_file import packed
from frostline.model.loading import require_archive
from frostline.plan.mask_file import read_mask
from frostline.plan.plan import Plan
from frostline.plan.schema import MaskData
from frostline.runs.config import load_run
from frostline.runs.data import digest_file
from frostline.runs.guess import arrays_in, columns_in
from frostline.training.resume import checkpoint
from frostline.training.resume.checkpoint import Checkpoint
from frostline.verification.receipt import Receipt

SAVED = Path(__file__).parents[1] / "saved" / "0.1" / "torch"


@dataclass(frozen=True)
class Reader:
    """How a kind of file is read.

    Attributes:
        read: Reads the file at a path.
        error: What it raises.
        whole: The bytes of a whole file.
        name: The name that the file has.
        keras: Whether its module imports Keras.
    """

    read: Callable[[Path], Any]
    error: type[FrostlineError]
    whole: Callable[[], bytes]
    name: str
    keras: bool = False


def npy(array: Any, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    """The bytes of an archive; `__` stands for the point in the name of a member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return stream.getvalue()


def keras_archive(**more: bytes) -> bytes:
    members = {"config__json": b'{"class_name": "Functional"}', "metadata__json": b"{}"}
    return zipped(**{**members, "model__weights__h5": b"weights", **more})


def image(kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", size, (1, 2, 3)).save(stream, kind)
    return stream.getvalue()


def small_delta(folder: Path) -> bytes:
    values = {"": np.arange(6, dtype="float32").reshape(2, 3)}
    entry = Entry("a/kernel", "weight", (2, 3), "float32", "whole", "all", values=values)
    Delta("net", {"a/kernel": entry}, {"a/kernel": BaseWeight((2, 3), "float32", "")}).save(folder / "d")
    return (folder / "d").read_bytes()


def of_checkpoint(name: str) -> Callable[[], bytes]:
    def whole() -> bytes:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            checkpoint.write(Path(folder), Checkpoint(1, {"loss": [0.5]}, {"model/a": np.arange(4.0)}))
            return (Path(folder) / "epoch-000001" / name).read_bytes()

    return whole


def _delta() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return small_delta(Path(folder))


def _mask(path: Path) -> Any:
    """Read a mask whose digest is right, as in a plan by whoever wrote both."""
    try:
        raw = path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 20 else b""
    except (OSError, ValueError):
        raw = b""
    return read_mask(MaskData(file=str(path), digest=f"blake3:{blake3(raw).hexdigest()}"), Path())


def _checkpoint(path: Path) -> Any:
    try:
        return checkpoint.read(path.parent)
    except ValueError as problem:  # what `latest` turns into a warning
        raise ResumeError(str(problem)) from None


def _matrix(path: Path) -> Any:
    from frostline.layers._matrices import read_matrix

    return read_matrix(path)


def _words(path: Path) -> Any:
    from frostline.layers.word_vectors import read_word_vectors

    return read_word_vectors(path)


def _pixels(path: Path) -> Any:
    files = np.empty(1, object)
    files[0] = path
    return ImageFiles(files, (4, 4), 3)[np.array([0])]


_PLAN = b"frostline: 1\nrules:\n- train: 'head/**'\n  lr: 0.1\n- freeze: {any: ['a/**', 'type:Dense']}\n"
_RUN = (
    b"frostline: 1\nmodel: mine:model\ndata: {function: mine:data, arguments: {n: 3}}\nepochs: 2\n"
    b"plan: {rules: [{train: 'head/**'}]}\ncompile: {optimizer: adam, loss: mse}\noutput: out\n"
)
_TABLE = b"p,q,kind\n1.5,2,cat\n2.5,3,dog\n"
_CONFIG = json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q"]}).encode()

READERS = {
    "plan": Reader(Plan.load, PlanFileError, lambda: _PLAN, "plan.yaml"),
    "plan in JSON": Reader(
        Plan.load, PlanFileError, lambda: b'{"frostline": 1, "rules": [{"train": "head/**"}]}', "plan.json"
    ),
    "run config": Reader(load_run, RunConfigError, lambda: _RUN, "run.yaml"),
    "receipt": Reader(
        Receipt.load, ModelFileError, lambda: (SAVED / "receipt.json").read_bytes(), "receipt.json"
    ),
    "delta": Reader(Delta.load, DeltaError, _delta, "tuned.safetensors"),
    "mask": Reader(_mask, PlanError, lambda: npy(np.ones((2, 3), bool)), "mask.npy"),
    "adapter config": Reader(
        lambda path: peft_file.read_config(path.parent), DeltaError, lambda: _CONFIG, peft_file.CONFIG
    ),
    "adapter": Reader(
        lambda path: peft_file.read_tensors(path.parent, {}),
        DeltaError,
        lambda: packed({"q.lora_A.weight": np.ones((4, 3), "float32")}),
        peft_file.WEIGHTS,
    ),
    "checkpoint's state": Reader(_checkpoint, ResumeError, of_checkpoint("state.json"), "state.json"),
    "checkpoint's arrays": Reader(
        _checkpoint, ResumeError, of_checkpoint("arrays.safetensors"), "arrays.safetensors"
    ),
    "matrix": Reader(
        _matrix, MatrixFileError, lambda: npy(np.ones((2, 3), "float32")), "matrix.npy", keras=True
    ),
    "matrix in safetensors": Reader(
        _matrix,
        MatrixFileError,
        lambda: packed({"m": np.ones((2, 3), "float32")}),
        "matrix.safetensors",
        keras=True,
    ),
    "word vectors": Reader(
        _words,
        MatrixFileError,
        lambda: b"2 3\nthe 0.5 1.0 2\nsea 0.0 -2.0 1e-3\n",
        "words.vec",
        keras=True,
    ),
    "table": Reader(
        lambda path: load_csv(path, CsvData(csv=str(path), target="kind")),
        DataError,
        lambda: _TABLE,
        "data.csv",
    ),
    "names of columns": Reader(columns_in, DataError, lambda: _TABLE, "data.csv"),
    "arrays": Reader(
        lambda path: load_npz(path, NpzData(npz=str(path), x="x", y="y")),
        DataError,
        lambda: npz(x=np.ones((4, 3), "float32"), y=np.arange(4)),
        "data.npz",
    ),
    "arrays to guess from": Reader(arrays_in, DataError, lambda: npz(x=np.ones((4, 3))), "data.npz"),
    "image": Reader(_pixels, DataError, image, "cat.png"),
    "model": Reader(require_archive, ModelFileError, keras_archive, "model.keras"),
    "digest": Reader(digest_file, DataError, lambda: b"x", "data.bin"),
}


PLAIN = [name for name, reader in READERS.items() if not reader.keras]
WITH_KERAS = [name for name, reader in READERS.items() if reader.keras]


def placed(reader: Reader, folder: Path, content: bytes | None = None) -> Path:
    """Write a file by the name that its reader expects, with what stands beside it."""
    path = folder / reader.name
    if reader.error is ResumeError:
        checkpoint.write(folder, Checkpoint(1, {"loss": [0.5]}, {"model/a": np.arange(4.0)}))
        path = folder / "epoch-000001" / reader.name
    path.write_bytes(reader.whole() if content is None else content)
    return path
