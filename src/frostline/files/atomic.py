"""Writing whole files: nothing half-written, nothing lost, errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from frostline.errors import FrostlineError
from frostline.files.abandoned import begin_of_temporary, remove_abandoned
from frostline.files.reading import kind_of


def write_atomically(path: Path, data: bytes, error: type[FrostlineError]) -> None:
    """Write a file so that others see it whole or not at all.

    The data goes to a temporary file in the same folder, to the disk, and only then to its name.
    """
    with replaced_atomically(path, error) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replaced_atomically(path: Path, error: type[FrostlineError]) -> Iterator[Path]:
    """Give a temporary file in the same folder to write to; at the end of the block it takes the name.

    It has the same ending. Where the block fails, nothing is left of it, and what was there before still is.
    Where the process is killed, it is left, and the next write of the same file removes it.
    """
    temporary: Path | None = None
    # What it leads to is written, as by any program; the link stays. `Path.is_symlink` raises for long names.
    if os.path.islink(path):  # noqa: PTH114
        path = Path(os.path.realpath(path))
    try:
        if kind_of(path) == "other":  # it would be gone, and `/dev/null` for everybody
            raise OSError(errno.EINVAL, "it is a pipe or a device, and no file")
        remove_abandoned(path)
        temporary = _made(path)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as problem:
        raise _cannot_write(path, error, str(problem.strerror or problem), problem.errno) from None
    except ValueError as problem:
        if "\0" not in str(path):
            raise
        raise _cannot_write(path, error, str(problem)) from None
    finally:
        # Still there after any failure, an interrupt included.
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


_EXPECTED = {
    errno.EISDIR: ("the name of a file: this one is a folder's", "name a file in it, or another"),
    errno.ENOSPC: ("room for the file on its disk", "make room there, or name another disk"),
    errno.EDQUOT: ("room for the file within your quota", "make room there, or name another disk"),
    errno.ENAMETOOLONG: ("a name that the disk takes, mostly of at most 255 bytes", "name it shorter"),
}


def _cannot_write(
    path: Path, error: type[FrostlineError], why: str, number: int | None = None
) -> FrostlineError:
    otherwise = ("a folder that exists and that you may write to", "name another output file")
    expected, remedy = _EXPECTED.get(number or 0, otherwise)
    return error(f"cannot write {str(path)!r}: {why}", expected=expected, remedy=remedy)


def _made(path: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=begin_of_temporary(path), suffix=_ending(path))
    os.close(handle)
    return Path(name)


def _ending(path: Path) -> str:
    """Return the ending of a name, by which libraries tell formats; of a long one none needs it."""
    return path.suffix if len(path.suffix.encode("utf-8", "surrogateescape")) <= 40 else ""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
