"""Checkpoints on disk: each a folder of its own that is whole or not there.

A checkpoint holds numbers in safetensors and everything else in JSON, with BLAKE3 digests of both, so that a
torn or altered one is found and not used. Nothing here knows of Keras.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from safetensors import numpy as safetensors

from frostline.errors import ResumeError, listed
from frostline.files.atomic import write_atomically
from frostline.files.json_text import parsed_json
from frostline.files.limits import UnreadableError
from frostline.files.lock import LOCK, locked
from frostline.files.reading import opened_plainly
from frostline.files.sealed import BrokenSealError, sealed, unsealed
from frostline.files.tensor_file import Array, numpy_dtype, unpacked
from frostline.render.foreign import warn
from frostline.training.resume import ours
from frostline.training.resume.ours import ARRAYS, EPOCH, FINISHED, KEY, MANIFEST, STATE, errors_named
from frostline.verification.digest import is_finite, not_finite
from frostline.verification.fingerprint import Fingerprint

SCHEMA = 1
KEPT = 2
"""How many checkpoints stay: the last one, and the one before for when the last cannot be read."""


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
        return FINISHED if self.finished else f"{EPOCH}{self.epoch:06d}"


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under its name, and remove all but the last two.

    It is written to a temporary folder, brought to the disk and only then renamed.

    Raises:
        ResumeError: It cannot be written, or its name is taken by what is not ours. What was there before
            still is.
    """
    temporary = folder / f".{checkpoint.name}.{os.getpid()}"
    try:
        _make(temporary)
        _write_files(temporary, checkpoint)
        _to_disk(temporary)
        _put_in_place(temporary, folder / checkpoint.name)
        _to_disk(folder)
    except OSError as problem:
        raise ResumeError(
            f"cannot write the checkpoint {str(folder / checkpoint.name)!r}: {problem.strerror}",
            expected="a folder that you may write to, on a disk with room",
        ) from None
    finally:
        # What cannot be removed now is removed when the next run begins here.
        with contextlib.suppress(ResumeError):
            ours.remove(temporary)
    _remove_outlived(folder, checkpoint)


def read(place: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        ValueError: It is damaged; says why in one phrase.
        ResumeError: It is whole, and of another version; or it cannot be read, which says nothing of it.
    """
    try:
        raw_state, raw = _content(place / STATE), _content(place / ARRAYS)
    except FileNotFoundError as problem:
        raise ValueError(f"{Path(problem.filename).name} is missing") from None
    try:
        state = parsed_json(raw_state)
    except ValueError:
        raise ValueError(f"{STATE} is not whole") from None
    try:
        state = unsealed(state)
    except BrokenSealError:
        raise ValueError(f"{STATE} is not what was written") from None
    if state[KEY] != SCHEMA:
        raise ResumeError(
            f"the checkpoint {str(place)!r} was written by another version of Frostline",
            received=f"a checkpoint of version {state[KEY]}",
            expected=f"one of version {SCHEMA}",
            remedy="continue with the version that wrote it, or name another folder",
        )
    if _digest(raw) != state["arrays"]:
        raise ValueError(f"{ARRAYS} is not what was written")
    try:
        stored = unpacked(raw)
    except UnreadableError as problem:
        raise ValueError(f"{ARRAYS}: {problem}") from None
    arrays = {
        name: stored[name].view(numpy_dtype(dtype)).reshape(shape) for name, dtype, shape in state["dtypes"]
    }
    return Checkpoint(state["epoch"], state["state"], arrays, state["finished"])


def latest(folder: Path) -> Checkpoint | None:
    """Return the last checkpoint of a folder that is whole and finite, or None; warn of each that is not.

    These stay until newer ones stand in their place.

    Raises:
        ResumeError: One cannot be read, or something in the folder has the name of a checkpoint and is none.
    """
    for place in ours.checkpoints_in(folder):
        try:
            found = read(place)
            require_finite(found)
            return found
        except ValueError as problem:
            warn(
                f"the checkpoint {str(place)!r} is discarded: {problem}; the one before it is used, or the "
                "run starts over if there is none",
                stacklevel=2,
            )
    return None


def require_finite(checkpoint: Checkpoint) -> None:
    """Raise `ValueError` where a checkpoint holds NaN or infinity that was not there when its run began.

    Without fingerprints (`guard=False`) nobody knows what was there, and infinity is taken for a mask.
    """
    data = checkpoint.state.get("ledger", {}).get("before")
    before = Fingerprint.from_data(data) if data is not None else None
    spoilt = [name for name, value in checkpoint.arrays.items() if _is_spoilt(name, value, before)]
    if spoilt:
        raise ValueError(f"it holds NaN or infinity in {listed(spoilt)}")


def _is_spoilt(name: str, value: Array, before: Fingerprint | None) -> bool:
    kind, _, rest = name.partition("/")
    if kind not in ("model", "optimizer", "parked", "best", "callbacks") or is_finite(value):
        return False
    if before is None:
        return bool(np.isnan(value).any())
    address = rest.partition("/")[2] if kind == "callbacks" else rest
    whole = address if address in before else address.removesuffix(":elements").removesuffix(":base")
    known = before[whole].not_finite if whole in before else ""
    # Where something was not finite already, or nobody knows, infinity may be a mask's; NaN is not.
    return known == "" or (known != not_finite(value) and bool(np.isnan(value).any()))


@contextlib.contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Make a folder if need be, and keep it from other runs until the end of the block.

    Raises:
        ResumeError: Another run has it, it cannot be read or written to, or something in it has the name of a
            checkpoint and is none. Nothing was changed then.
    """
    with errors_named("look at", folder):
        if folder.is_dir():
            ours.require_only_ours(folder)
    with locked(folder, ResumeError, "checkpoint folder", "name another folder"):
        # What a run that was killed had not finished writing.
        ours.remove_leftovers(folder)
        yield


def remove_all(folder: Path) -> None:
    """Remove the checkpoints of a run that is over, and the folder where nothing else is in it.

    Raises:
        ResumeError: One cannot be removed.
    """
    ours.remove_all(folder, LOCK)


def _content(path: Path) -> bytes:
    """Return the bytes of a file that may be missing; one that cannot be read is an error."""
    if not os.path.lexists(path):
        raise FileNotFoundError(2, "is missing", str(path))
    with errors_named("read", path), opened_plainly(path) as stream:
        return stream.read()


def _make(temporary: Path) -> None:
    """Make the folder that a checkpoint is written to, and before all else say whose it is."""
    if temporary.is_dir():
        ours.remove(temporary)
    temporary.mkdir()
    (temporary / MANIFEST).write_text(json.dumps({KEY: SCHEMA}))


def _put_in_place(temporary: Path, place: Path) -> None:
    """Rename a folder to a name that an earlier checkpoint may have, which goes when the new one stands."""
    earlier = temporary.with_name(f"{temporary.name}.old")
    if os.path.lexists(place):
        ours.require_ours(place)
        place.rename(earlier)
    try:
        temporary.rename(place)
    except OSError:
        if earlier.is_dir():
            earlier.rename(place)
        raise
    if earlier.is_dir():
        ours.remove(earlier)


def _remove_outlived(folder: Path, newest: Checkpoint) -> None:
    """Remove the checkpoints that a newer one outlives, all but the last before it.

    Those of later epochs are damaged, or the run would have gone on from them: they go when it is over.
    """
    epochs = {place: ours.epoch_of(place) for place in ours.places(folder) if place.name != newest.name}
    earlier = [place for place, epoch in epochs.items() if epoch is not None and epoch <= newest.epoch]
    later = [place for place, epoch in epochs.items() if epoch is not None and epoch > newest.epoch]
    for outlived in (*earlier[KEPT - 1 :], *(later if newest.finished else ())):
        ours.remove(outlived)


def _write_files(place: Path, checkpoint: Checkpoint) -> None:
    # As bytes, since safetensors knows only some of the dtypes that weights have.
    values = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
    raw = safetensors.save({name: value.reshape(-1).view(np.uint8) for name, value in values.items()})
    state = {
        KEY: SCHEMA,
        "epoch": checkpoint.epoch,
        "finished": checkpoint.finished,
        "state": checkpoint.state,
        "dtypes": [[name, str(a.dtype), list(a.shape)] for name, a in checkpoint.arrays.items()],
        "arrays": _digest(raw),
    }
    write_atomically(place / ARRAYS, raw, ResumeError)
    write_atomically(place / STATE, json.dumps(sealed(state), indent=1).encode(), ResumeError)


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
