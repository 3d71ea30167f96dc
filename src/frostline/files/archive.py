"""The one gate through which archives (`.keras`, `.npz`) are read: looked over as a whole, then by member."""

from __future__ import annotations

import io
import lzma
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from frostline.errors import FrostlineError, listed
from frostline.files.limits import DamagedError, UnreadableError, require_unpacked
from frostline.files.reading import opened

_PROBLEMS = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    IndexError,
    OverflowError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
"""What Python's reader of archives raises where some byte of one is not what it was."""

_MOST_DIRECTORY = 8 << 20
"""Bytes of the list of members, each of which takes ten times as many in memory."""

_METHODS = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflated",
}
"""How Keras and NumPy pack. Python unpacks bzip2 and lzma without a limit, whatever a member says it is."""

_END_RECORD = 22
"""Bytes of what stands at the end of an archive, without a comment."""

_ENCRYPTED = 0x1
_PATCHED = 0x20


@dataclass(frozen=True)
class Archive:
    """An archive whose list of members was looked over.

    Attributes:
        names: Of its members, each once.
        stream: The file that it is read from.
    """

    names: tuple[str, ...]
    stream: BinaryIO
    _zip: zipfile.ZipFile

    def size(self, name: str) -> int:
        """Return how many bytes a member unpacks to."""
        return self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            UnreadableError: It is damaged; says why in one phrase.
        """
        with _said(name):
            return self._zip.read(name)

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """Give a member to read from; what it raises within the block is an `UnreadableError`."""
        with _said(name), self._zip.open(name) as stream:
            yield stream

    def require_whole(self) -> None:
        """Read every member once, and hold it against the checksum in the archive.

        Raises:
            UnreadableError: One is damaged.
        """
        for name in self.names:
            with self.member(name) as stream:
                while stream.read(1 << 20):
                    pass

    @property
    def end(self) -> bytes:
        """The bytes from where the list of members begins."""
        self.stream.seek(self._zip.start_dir)
        return self.stream.read()


@contextmanager
def opened_archive(path: Path, error: type[FrostlineError], noun: str) -> Iterator[Archive]:
    """Open an archive and look over the list of its members; nothing is unpacked yet.

    Args:
        path: The file.
        error: What to raise where it is not a file that can be read.
        noun: What it is called in messages.

    Raises:
        FrostlineError: As `opened`, of the class `error`.
        UnreadableError: It is not an archive, or one with a trap in it: says why in one phrase.
    """
    with opened(path, error, noun) as stream:
        with _said():
            _require_short_list(stream)
            found = zipfile.ZipFile(stream)
        with found:
            members = found.infolist()
            _require_plain(members)
            unpacked = sum(member.file_size for member in members)
            require_unpacked(os.fstat(stream.fileno()).st_size, unpacked, "the archive")
            yield Archive(tuple(member.filename for member in members), stream, found)


@contextmanager
def _said(member: str = "") -> Iterator[None]:
    """Turn what Python's reader raises into one phrase."""
    try:
        yield
    except UnreadableError:
        raise
    except FrostlineError:
        raise
    except _PROBLEMS as problem:
        said = (str(problem).splitlines() or [type(problem).__name__])[0][:200]
        raise DamagedError(f"the member {member!r}: {said}" if member else said) from None


def _require_plain(members: list[zipfile.ZipInfo]) -> None:
    names = Counter(member.filename for member in members)
    # A reader takes one of two members with one name, and none that has lost its name.
    if strange := sorted(repr(name) for name, times in names.items() if times > 1 or not name):
        raise UnreadableError(f"members called {listed(strange)}, where each has a name of its own")
    for member in members:
        if why := _strange(member):
            raise UnreadableError(f"the member {member.filename[:100]!r} {why}")


def _strange(member: zipfile.ZipInfo) -> str | None:
    """Say what makes a member one that is not read; None where it is plain."""
    name = member.orig_filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":" or "\0" in name:
        return "names a place outside of the archive"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted; unpack it with its password, and pack it again without"
    if member.flag_bits & _PATCHED:
        return "holds a change of another file"
    if member.compress_type not in _METHODS:
        known = listed(f"{number} ({name})" for number, name in _METHODS.items())
        return f"is packed by the method {member.compress_type}, where {known} are read; pack it so"
    return None


def _require_short_list(stream: BinaryIO) -> None:
    """Refuse an archive of a million empty members: their list is read as a whole."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - (64 << 10) - 100))
    tail = stream.read()
    stream.seek(0)
    # As Python's reader looks for the record: at the very end, else wherever its mark stands last.
    at_end = max(0, len(tail) - _END_RECORD)
    found = at_end if tail[at_end:].startswith(b"PK\5\6") else tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END_RECORD:
        return  # no archive, as its reader will say
    length = int.from_bytes(tail[found + 12 : found + 16], "little")
    # Python's reader follows the record for large archives wherever there is one.
    if (large := tail.rfind(b"PK\6\6", 0, found)) >= 0:
        told = int.from_bytes(tail[large + 40 : large + 48], "little")
        length = told if length == 0xFFFFFFFF else max(length, told)
    if length > _MOST_DIRECTORY:
        raise UnreadableError(
            f"its list of members is {length:,} bytes long, where at most {_MOST_DIRECTORY:,} are read"
        )
