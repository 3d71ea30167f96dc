"""Keeping a folder for one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frostline.errors import FrostlineError

LOCK = ".lock"
"""The file that is locked; it holds the number of the process and stays behind."""


@contextmanager
def locked(folder: Path, error: type[FrostlineError], what: str, remedy: str) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be, until the end of the block.

    The lock is one of the system's, which lets go of it when the process ends, however it does: a run that
    was killed blocks nobody.

    Args:
        folder: The folder.
        error: What to raise where another process has it, or where it cannot be written to.
        what: What the folder is called in messages.
        remedy: How to name another one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("a+")
    except OSError as problem:
        raise error(
            f"the {what} {str(folder)!r} cannot be used: {problem.strerror}",
            expected="a folder that exists or can be made, and that you may write to",
            remedy=remedy,
        ) from None
    with stream:
        _take(folder, stream, error, what, remedy)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def require_unlocked(folder: Path, error: type[FrostlineError], what: str, remedy: str) -> None:
    """Raise `error` where another process has a folder; changes nothing."""
    if (folder / LOCK).exists():
        with suppress(PermissionError), (folder / LOCK).open("r+") as stream:
            _take(folder, stream, error, what, remedy)


def _take(folder: Path, stream: Any, error: type[FrostlineError], what: str, remedy: str) -> None:
    """Take the lock of a folder until the stream is closed, or raise the error that names who has it."""
    if _taken(stream):
        return
    stream.seek(0)
    raise error(
        f"the {what} {str(folder)!r} is in use by another run",
        received=f"process {stream.read().strip() or 'unknown'} writes to it",
        remedy=f"wait until it ends, or {remedy}",
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
