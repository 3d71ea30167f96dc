"""The one gate through which files are opened to be read: regular ones alone, and none that is a trap.

A named pipe would be waited for, a device never ends, and a file of holes takes nothing on the disk and all
of the memory. What is opened is looked at by its descriptor, so that it cannot be exchanged in between.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, AnyStr, BinaryIO, Literal

from frostline.errors import FrostlineError
from frostline.files.limits import MOST_LINE, MOST_TEXT, UnreadableError, most_unpacked
from frostline.files.similar import similar_files
from frostline.files.text import SAVE_AS_UTF8, other_encoding, without_mark

Kind = Literal["file", "folder", "other"]

# Neither waits for somebody to write into a pipe, nor takes a terminal over; Windows has no such flags.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
)

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class NoFileError(OSError):
    """What stands under a name can be opened, and is nothing that is read.

    Args:
        what: What is wrong with it.
        path: The name.
        more: What was received and expected, and the remedy.
    """

    def __init__(self, what: str, path: Path, **more: str) -> None:
        super().__init__(errno.EINVAL, what, str(path))
        self.more = more


def kind_of(path: Path) -> Kind | None:
    """Return what stands under a name; None where nothing does, or nothing can.

    `Path.exists` and its like raise for a name that is too long, or in a folder that may not be looked into.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def size_of(path: Path) -> int:
    """Return how many bytes a file has, for a message about it; 0 where nobody can tell."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


@contextmanager
def opened(
    path: Path, error: type[FrostlineError], noun: str, *, endings: tuple[str, ...] | None = None
) -> Iterator[BinaryIO]:
    """Open a file to read its bytes.

    Args:
        path: The file.
        error: What to raise.
        noun: What it is called in messages: `mask`.
        endings: Of names that may be meant where there is no such file; by default its own ending.

    Raises:
        FrostlineError: It is not there, is not a regular file, cannot be opened or read, or is a file of
            holes; of the class `error`. So is what the system raises within the block.
    """
    with _named(path, error, noun, endings), opened_plainly(path) as stream:
        yield stream


@contextmanager
def opened_plainly(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read its bytes, where errors of the system are wanted as they are.

    Raises:
        OSError: It is not there, or cannot be opened.
        NoFileError: It is not a regular file, or a file of holes.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        _require_no_holes(descriptor, path)
        stream = os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    with stream:
        yield stream


def read_bytes(
    path: Path,
    error: type[FrostlineError],
    noun: str,
    *,
    most: int | None = None,
    endings: tuple[str, ...] | None = None,
) -> bytes:
    """Return the bytes of a file; arguments as for `opened`.

    Args:
        path: The file.
        error: What to raise.
        noun: What it is called in messages.
        most: How many bytes it may have; by default any number.
        endings: Of names that may be meant.

    Raises:
        FrostlineError: As `opened`; or it is larger than `most`, or than the memory.
    """
    with opened(path, error, noun, endings=endings) as stream:
        size = os.fstat(stream.fileno()).st_size
        if most is not None and size > most:
            raise error(
                f"the {noun} {str(path)!r} is too large to be one",
                received=f"{size:,} bytes",
                expected=f"at most {most:,}",
                remedy="see whether another file was meant",
            )
        try:
            return stream.read(size)
        except MemoryError:
            raise error(
                f"the {noun} {str(path)!r} does not fit into memory", received=f"{size:,} bytes"
            ) from None


def read_text(path: Path, error: type[FrostlineError], noun: str, *, most: int = MOST_TEXT) -> str:
    """Return the text of a UTF-8 file, or raise `error` with the reason and the remedy.

    A byte order mark at its beginning is left out, and line breaks of other systems become plain ones.
    """
    endings = (path.suffix,) if path.suffix else ()
    raw = read_bytes(path, error, noun, most=most, endings=endings)
    require_utf8(raw, path, error, noun)
    try:
        text = without_mark(raw).decode("utf-8")
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        raise error(
            f"the {noun} {str(path)!r} is not text in UTF-8",
            received=f"byte {problem.object[problem.start]:#04x} on line {line}",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def require_utf8(raw: bytes, path: Path, error: type[FrostlineError], noun: str = "") -> None:
    """Raise `error` where the beginning of a file tells of another encoding than UTF-8."""
    if (encoding := other_encoding(raw)) is not None:
        raise error(
            f"{f'the {noun} ' if noun else ''}{str(path)!r} is not text in UTF-8",
            received=f"text in {encoding}",
            remedy=SAVE_AS_UTF8,
        )


def lines_of(stream: IO[AnyStr]) -> Iterator[AnyStr]:
    """Yield the lines of a file with their ends.

    Raises:
        UnreadableError: One is longer than any that is meant: it would be held in memory as a whole.
    """
    while line := stream.readline(MOST_LINE + 1):
        if len(line) > MOST_LINE:
            raise UnreadableError(f"a line of more than {MOST_LINE:,} characters")
        yield line


@contextmanager
def _named(
    path: Path, error: type[FrostlineError], noun: str, endings: tuple[str, ...] | None
) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        own = (path.suffix,) if path.suffix else ()
        raise error(
            f"there is no {noun} {str(path)!r}",
            remedy=similar_files(path, *(own if endings is None else endings)),
        ) from None
    except NoFileError as problem:
        raise error(f"the {noun} {str(path)!r} cannot be read: {problem.strerror}", **problem.more) from None
    except OSError as problem:
        raise error(f"the {noun} {str(path)!r} cannot be read: {problem.strerror or problem}") from None
    except ValueError as problem:
        # The only one that `os.open` raises; others come from what reads in the block, and are its affair.
        if "\0" not in str(path):
            raise
        raise error(
            f"the {noun} {str(path)!r} cannot be read: {problem}",
            expected="a name without the character \\0",
        ) from None


def _require_regular(mode: int, path: Path) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise NoFileError(
        "it is not a file",
        path,
        received=next((name for is_it, name in _KINDS if is_it(mode)), "something else"),
        expected="a regular file",
        remedy="write what comes out of it to a file, and name that",
    )


def _require_no_holes(descriptor: int, path: Path) -> None:
    """Refuse a file that says it is far larger than what was ever written to it."""
    size = os.fstat(descriptor).st_size
    if size <= most_unpacked(0) or size <= most_unpacked(written := _written(descriptor, size)):
        return
    raise NoFileError(
        "nearly all of it is holes",
        path,
        received=f"{size:,} bytes, of which {written:,} were ever written",
        expected="a whole file",
        remedy="get or write it again: it seems that its beginning alone has come",
    )


def _written(descriptor: int, size: int) -> int:
    """Return how many bytes of a file are not holes; as many as it has where the system does not tell."""
    if not hasattr(os, "SEEK_DATA"):
        return size
    place = written = 0
    try:
        while place < size:
            begin = os.lseek(descriptor, place, os.SEEK_DATA)
            place = os.lseek(descriptor, begin, os.SEEK_HOLE)
            written += place - begin
    except OSError as problem:
        # From there on nothing but a hole, where it says so.
        written = written if problem.errno == errno.ENXIO else size
    os.lseek(descriptor, 0, os.SEEK_SET)
    return written
