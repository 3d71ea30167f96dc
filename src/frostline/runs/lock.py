"""The lock that keeps an output folder for one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frostline.errors import OutputFolderError

LOCK = ".lock"
"""The file that is locked; it holds the number of the process and stays behind."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out of a folder until the end of the block.

    The lock is one of the system's, which lets go of it when the process ends, however it does: a run that
    was killed blocks nobody.

    Raises:
        OutputFolderError: Another process has the folder, or it cannot be written to.
    """
    try:
        stream = (path / LOCK).open("a+")
    except OSError as error:
        raise OutputFolderError(
            f"the output folder {str(path)!r} cannot be written to: {error.strerror}",
            expected="a folder that you may write to",
            remedy="name another folder under output:",
        ) from None
    with stream:
        _take(path, stream)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def require_unlocked(path: Path) -> None:
    """Raise `OutputFolderError` where another process has a folder; changes nothing."""
    if (path / LOCK).exists():
        with suppress(PermissionError), (path / LOCK).open("r+") as stream:
            _take(path, stream)


def _take(path: Path, stream: Any) -> None:
    """Take the lock of a folder until the stream is closed, or raise the error that names who has it."""
    if _taken(stream):
        return
    stream.seek(0)
    raise OutputFolderError(
        f"the output folder {str(path)!r} is in use by another run",
        received=f"process {stream.read().strip() or 'unknown'} writes to it",
        remedy="wait until it ends, or name another folder under output:",
    )


def _taken(stream: Any) -> bool:
    try:
        import fcntl
    except ImportError:
        return _taken_on_windows(stream)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken_on_windows(stream: Any) -> bool:
    msvcrt: Any = __import__("msvcrt")
    try:
        # One byte behind the number of the process, so that others can read it.
        stream.seek(100)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True
