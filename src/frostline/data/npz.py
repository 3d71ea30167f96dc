"""Data in a NumPy archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from frostline.data.samples import Samples, leaves, mapped, require_samples
from frostline.data.sources import NpzData
from frostline.errors import DataError, listed, near
from frostline.files.archive import Archive, opened_archive
from frostline.files.array_file import read_npy
from frostline.files.limits import PickledError, UnreadableError


@dataclass(frozen=True)
class Arrays:
    """The arrays of an archive that is open.

    Attributes:
        path: Its file.
        archive: The archive.
    """

    path: Path
    archive: Archive

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return [name.removesuffix(".npy") for name in self.archive.names]

    def read(self, name: str) -> npt.NDArray[Any]:
        """Return an array.

        Raises:
            DataError: There is none of this name, or it cannot be read.
        """
        member = next((m for m in self.archive.names if m in (f"{name}.npy", name)), None)
        try:
            if member is None:
                raise UnreadableError(f"the archive has {listed(self.names, most=8) or 'no arrays'}")
            with self.archive.member(member) as stream:
                return read_npy(stream, self.archive.size(member))
        except UnreadableError as problem:
            raise DataError(
                f"the array {name!r} of {str(self.path)!r} cannot be read",
                received=str(problem),
                expected="an array of numbers",
                remedy="save it with one type and one shape for all samples"
                if isinstance(problem, PickledError)
                else None,
            ) from None


@contextmanager
def opened_arrays(path: Path) -> Iterator[Arrays]:
    """Open a NumPy archive.

    Raises:
        DataError: It is none, or has a trap in it; says what.
    """
    try:
        with opened_archive(path, DataError, "NumPy archive") as archive:
            yield Arrays(path, archive)
    except UnreadableError as problem:
        raise DataError(
            f"{str(path)!r} is not a whole NumPy archive",
            received=str(problem),
            expected="a file that np.savez('data.npz', x=x, y=y) wrote",
        ) from None


def check_npz(path: Path, source: NpzData) -> None:
    """Raise `DataError` where an archive cannot be read or lacks a key; reads its list of names only."""
    with opened_arrays(path) as archive:
        keys = archive.names
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
    with opened_arrays(path) as archive:

        def read(name: str) -> Any:
            return native(archive.read(name))

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
