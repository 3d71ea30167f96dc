"""Keeping a folder for one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from frostline.errors import FrostlineError
from frostline.files.reading import kind_of

LOCK = ".lock"
"""The file that is locked; it holds the number of the process and stays behind."""


_LONGEST = 32
"""More bytes than the number of a process has."""


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
    # Kept, since a lock whose file is removed at the end may be held twice.
    lock = FileLock(folder / LOCK, blocking=False, preserve_lock_file=True, on_acquired=_write_process)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_ours(folder, error, what, remedy)
        lock.acquire()
    except Timeout:
        raise _in_use(folder, error, what, remedy) from None
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise error(
            f"the {what} {str(folder)!r} cannot be used: {why}",
            expected="a folder that exists or can be made, and that you may write to",
            remedy=remedy,
        ) from None
    try:
        yield
    finally:
        lock.release()


def require_unlocked(folder: Path, error: type[FrostlineError], what: str, remedy: str) -> None:
    """Raise `error` where another process has a folder; changes nothing."""
    if kind_of(folder / LOCK) is None:
        return
    _require_ours(folder, error, what, "name another folder")
    try:
        with suppress(PermissionError), FileLock(folder / LOCK, blocking=False, preserve_lock_file=True):
            pass
    except Timeout:
        raise _in_use(folder, error, what, remedy) from None


def _require_ours(folder: Path, error: type[FrostlineError], what: str, remedy: str) -> None:
    """Raise `error` where a file that no lock has written has its name: it would be emptied."""
    path = folder / LOCK
    if not path.is_symlink() and (not path.exists() or (path.is_file() and _number_in(path) is not None)):
        return
    raise error(
        f"the {what} {str(folder)!r} cannot be locked: {LOCK} in it is another program's",
        received=f"{str(path)!r}, which holds something else than the number of a process",
        expected=f"a folder without {LOCK}, or with the one that Frostline wrote; nothing was changed",
        remedy=remedy,
    )


def _number_in(path: Path) -> str | None:
    """Return the number of the process that a lock names, if it names one; None for other files."""
    with path.open("rb", buffering=0) as stream:
        stream.seek(1)
        text = stream.read(_LONGEST)
    return text.decode() if not text or (text.isdigit() and len(text) < _LONGEST) else None


def _write_process(descriptor: int) -> None:
    # Behind the first byte, which Windows lets nobody read that does not have the lock.
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 1, os.SEEK_SET)
    os.write(descriptor, str(os.getpid()).encode())


def _in_use(folder: Path, error: type[FrostlineError], what: str, remedy: str) -> FrostlineError:
    process = _number_in(folder / LOCK) or "unknown"
    return error(
        f"the {what} {str(folder)!r} is in use by another run",
        received=f"process {process} writes to it",
        remedy=f"wait until it ends, or {remedy}",
    )
