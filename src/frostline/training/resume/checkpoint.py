"""Checkpoints on disk: each a folder of its own that is whole or not there.

A checkpoint holds numbers in safetensors and everything else in JSON, with BLAKE3 digests of both, so that a
torn or altered one is found and not used. Nothing here knows of Keras.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from frostline.errors import ResumeError
from frostline.files.atomic import write_atomically
from frostline.files.lock import locked
from frostline.files.sealed import BrokenSealError, sealed, unsealed
from frostline.files.tensor_file import Array, numpy_dtype

SCHEMA = 1
KEPT = 2
"""How many checkpoints stay: the last one, and the one before for when the last cannot be read."""

_EPOCH, _FINISHED = "epoch-", "finished"
_ARRAYS, _STATE = "arrays.safetensors", "state.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stands at the end of an epoch, or at its own end.

    Attributes:
        epoch: The index of the epoch that comes next.
        state: All but the arrays, as JSON has it.
        arrays: Arrays by name, of any NumPy dtype or one of `ml_dtypes`.
        finished: Whether the run is over.
    """

    epoch: int
    state: Mapping[str, Any] = field(repr=False)
    arrays: Mapping[str, Array] = field(repr=False)
    finished: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        return _FINISHED if self.finished else f"{_EPOCH}{self.epoch:06d}"


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under its name, and remove all but the last two.

    It is written to a temporary folder, brought to the disk and only then renamed.

    Raises:
        ResumeError: It cannot be written. What was there before still is.
    """
    place = folder / checkpoint.name
    temporary = folder / f".{checkpoint.name}.{os.getpid()}"
    try:
        _remove(temporary)
        temporary.mkdir()
        _write_files(temporary, checkpoint)
        _to_disk(temporary)
        _remove(place)
        temporary.replace(place)
        _to_disk(folder)
    except OSError as problem:
        raise ResumeError(
            f"cannot write the checkpoint {str(place)!r}: {problem.strerror}",
            expected="a folder that you may write to, on a disk with room",
        ) from None
    finally:
        _remove(temporary)
    for old in _candidates(folder)[KEPT:]:
        _remove(old)


def read(place: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        ValueError: It is damaged; says why in one phrase.
        ResumeError: It is whole, and of another version.
    """
    try:
        state = json.loads((place / _STATE).read_bytes())
        raw = (place / _ARRAYS).read_bytes()
    except FileNotFoundError as problem:
        raise ValueError(f"{Path(problem.filename).name} is missing") from None
    except OSError as problem:
        raise ValueError(f"it cannot be read: {problem.strerror}") from None
    except ValueError:
        raise ValueError(f"{_STATE} is not whole") from None
    try:
        state = unsealed(state)
    except BrokenSealError:
        raise ValueError(f"{_STATE} is not what was written") from None
    if state["frostline_checkpoint"] != SCHEMA:
        raise ResumeError(
            f"the checkpoint {str(place)!r} was written by another version of Frostline",
            received=f"a checkpoint of version {state['frostline_checkpoint']}",
            expected=f"one of version {SCHEMA}",
            remedy="continue with the version that wrote it, or name another folder",
        )
    if _digest(raw) != state["arrays"]:
        raise ValueError(f"{_ARRAYS} is not what was written")
    try:
        stored = safetensors.load(raw)
    except SafetensorError as problem:
        raise ValueError(f"{_ARRAYS}: {problem}") from None
    # Copies, since what stands in `raw` cannot be written to, which PyTorch warns of.
    arrays = {
        name: np.array(stored[name].view(numpy_dtype(dtype)).reshape(shape))
        for name, dtype, shape in state["dtypes"]
    }
    return Checkpoint(state["epoch"], state["state"], arrays, state["finished"])


def latest(folder: Path) -> Checkpoint | None:
    """Return the last checkpoint of a folder that can be read, or None; warn of each that cannot."""
    for place in _candidates(folder):
        try:
            return read(place)
        except ValueError as problem:
            warnings.warn(
                f"the checkpoint {str(place)!r} is discarded: {problem}; the one before it is used, or the "
                "run starts over if there is none",
                stacklevel=2,
            )
            _remove(place)
    return None


@contextlib.contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Make a folder if need be, and keep it from other runs until the end of the block.

    Raises:
        ResumeError: Another run has it, or it cannot be written to.
    """
    with locked(folder, ResumeError, "checkpoint folder", "name another folder"):
        # What a run that was killed had not finished writing.
        _remove(*folder.glob(f".{_EPOCH}*"), *folder.glob(f".{_FINISHED}.*"))
        yield


def _candidates(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the last one first."""
    epochs = sorted(folder.glob(f"{_EPOCH}*"), reverse=True)
    finished = folder / _FINISHED
    return [finished, *epochs] if finished.exists() else epochs


def _write_files(place: Path, checkpoint: Checkpoint) -> None:
    # As bytes, since safetensors knows only some of the dtypes that weights have.
    values = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
    raw = safetensors.save({name: value.reshape(-1).view(np.uint8) for name, value in values.items()})
    state = {
        "frostline_checkpoint": SCHEMA,
        "epoch": checkpoint.epoch,
        "finished": checkpoint.finished,
        "state": checkpoint.state,
        "dtypes": [[name, str(a.dtype), list(a.shape)] for name, a in checkpoint.arrays.items()],
        "arrays": _digest(raw),
    }
    write_atomically(place / _ARRAYS, raw, ResumeError)
    write_atomically(place / _STATE, json.dumps(sealed(state), indent=1).encode(), ResumeError)


def _digest(raw: bytes) -> str:
    return blake3(raw, max_threads=blake3.AUTO).hexdigest()


def _to_disk(folder: Path) -> None:
    """Make sure that the names in a folder survive a loss of power."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(*places: Path) -> None:
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
