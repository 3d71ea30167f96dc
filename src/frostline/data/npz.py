"""Data in a NumPy archive."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.data.samples import Samples, leaves, mapped, require_samples
from frostline.data.sources import NpzData
from frostline.errors import DataError, listed, near


def check_npz(path: Path, source: NpzData) -> None:
    """Raise `DataError` where an archive cannot be read or lacks a key; reads its list of names only."""
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"{str(path)!r} is not a whole NumPy archive: {error}",
            expected="a file that np.savez('data.npz', x=x, y=y) wrote",
        ) from None
    wanted = [name for part in (source.x, source.y) for _, name in leaves(part)]
    for name in [*wanted, *([source.sample_weight] if source.sample_weight else [])]:
        if name not in keys:
            close = near(name, keys)
            raise DataError(
                f"{str(path)!r} has no array {name!r}",
                received=f"it has {listed(keys, most=8) or 'none'}",
                remedy=f"did you mean {listed(close)}?" if close else "name the arrays under data: x: and y:",
            )


def load_npz(path: Path, source: NpzData) -> Samples:
    """Read the arrays that a config names.

    Raises:
        DataError: They cannot be read, hold no numbers, or do not fit one another.
    """

    def read(name: str) -> Any:
        try:
            array = archive[name]
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            pickled = "pickle" in str(error).lower()
            raise DataError(
                f"the array {name!r} of {str(path)!r} cannot be read",
                received="an array of Python objects" if pickled else str(error),
                expected="an array of numbers",
                remedy="save it with one type and one shape for all samples" if pickled else None,
            ) from None
        return native(array)

    with np.load(path, allow_pickle=False) as archive:
        samples = Samples(
            x=mapped(source.x, read),
            y=mapped(source.y, read),
            weight=read(source.sample_weight) if source.sample_weight else None,
            source=str(path),
        )
    return require_samples(samples)


def native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array in the byte order of the machine, the only one that backends take."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
