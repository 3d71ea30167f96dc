"""The masks of plan files: `.npy` files beside the plan, held to a digest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from frostline.errors import PlanError, PlanFileError
from frostline.files.array_file import read_npy
from frostline.files.atomic import write_atomically
from frostline.files.limits import UnreadableError
from frostline.files.reading import kind_of, read_bytes
from frostline.files.similar import similar_files
from frostline.parametrization.arguments import unpacked
from frostline.plan.schema import MaskData

Mask = npt.NDArray[np.bool_]


def read_mask(data: MaskData, folder: Path) -> Mask:
    """Return the mask that a plan names, or that stands in it.

    Args:
        data: What the plan says of it.
        folder: Where the plan is.

    Raises:
        PlanError: There is no such file, it is not the one that the plan was written for, or it does not
            hold a mask.
    """
    if data.bits is not None:
        return unpacked(data.bits, data.shape)
    path = folder / data.file
    raw = _bytes(path)
    found = _digest(raw)
    if found != data.digest:
        raise PlanError(
            f"the mask {str(path)!r} is not the one that the plan was written for",
            received=f"a file with the digest {found}",
            expected=data.digest,
            remedy="put the right file there; if this one is meant, write its digest into the plan",
        )
    return _array(path, raw)


def with_mask_files(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a plan's data with masks in files beside it, which are written here.

    Args:
        data: What `to_data` returned.
        path: Where the plan will be.

    Raises:
        PlanFileError: A file cannot be written.
    """
    for rule in _rules(data):
        if (mask := rule.get("mask")) is None:
            continue
        stream = io.BytesIO()
        np.save(stream, unpacked(mask["bits"], mask["shape"]), allow_pickle=False)
        digest = _digest(stream.getvalue())
        # Named by its content, so that no plan's mask is ever overwritten by another's.
        name = f"{path.stem}.mask-{digest.removeprefix('blake3:')[:12]}.npy"
        write_atomically(path.parent / name, stream.getvalue(), PlanFileError)
        rule["mask"] = {"file": name, "digest": digest}
    return data


def _rules(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from data["rules"]
    for phase in data.get("phases", ()):
        yield from phase.get("rules", ())


def _digest(raw: bytes) -> str:
    return f"blake3:{blake3(raw, max_threads=blake3.AUTO).hexdigest()}"


def _bytes(path: Path) -> bytes:
    if kind_of(path) is None:
        raise PlanError(
            f"there is no mask {str(path)!r}",
            expected="a .npy file of booleans, named relative to the folder of the plan",
            remedy=similar_files(path, ".npy"),
        )
    return read_bytes(path, PlanError, "mask")


def _array(path: Path, raw: bytes) -> Mask:
    try:
        array = read_npy(io.BytesIO(raw), len(raw))
    except UnreadableError as error:
        raise PlanError(
            f"the mask {str(path)!r} cannot be read",
            received=f"{len(raw):,} bytes; {error}",
            expected="a file that numpy.save wrote, without Python objects",
        ) from None
    if array.dtype != np.bool_:
        raise PlanError(
            f"the mask {str(path)!r} does not hold booleans",
            received=f"shape {array.shape}, dtype {array.dtype}",
            expected="dtype bool, True where an element is meant",
            remedy="save it as numpy.save('mask.npy', array > 0)",
        )
    return array
