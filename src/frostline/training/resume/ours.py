"""Which folders are checkpoints of Frostline's, and how they are removed: by the names of files written here.

A checkpoint carries a manifest from the moment at which its folder is made. What only looks like a checkpoint
belongs to somebody else: it is named in an error, and neither read nor removed. An error of reading is an
error: it says nothing about what a folder holds.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from frostline.errors import ResumeError, listed
from frostline.files.json_text import parsed_json
from frostline.files.reading import NoFileError, opened_plainly

KEY = "frostline_checkpoint"
MANIFEST, ARRAYS, STATE = "checkpoint.json", "arrays.safetensors", "state.json"
EPOCH, FINISHED = "epoch-", "finished"

_NAME = re.compile(rf"{EPOCH}\d{{6,}}|{FINISHED}")
_LEFTOVER = re.compile(rf"\.(?:{_NAME.pattern})\.\d+(?:\.old)?")
_IN_WRITING = tuple(f".{name}." for name in (MANIFEST, ARRAYS, STATE))
"""How the names of files begin that a process which was killed had not finished writing."""


@contextlib.contextmanager
def errors_named(doing: str, path: Path) -> Iterator[None]:
    """Turn an error of the system into one that names the file and its number; nothing was removed then.

    Args:
        doing: What is done in the block, as in "cannot read".
        path: The file or folder; the error's own, where it knows one.
    """
    try:
        yield
    except NoFileError as problem:
        raise ResumeError(f"cannot {doing} {str(path)!r}: {problem.strerror}", **problem.more) from None
    except OSError as problem:
        where = str(problem.filename or path)
        raise ResumeError(
            f"cannot {doing} {where!r}: {problem.strerror or problem} (errno {problem.errno})",
            expected="a folder of checkpoints that can be read; none of them was removed",
            remedy="see to the cause, then make the same call again",
        ) from None


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none where there is no folder.

    Raises:
        ResumeError: It cannot be listed.
    """
    with errors_named("list", folder):
        try:
            return sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return []


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the places of a folder's checkpoints, the last one first.

    Raises:
        ResumeError: Something has the name of a checkpoint and is none, or holds more than one; or it cannot
            be told. Nothing was touched.
    """
    require_only_ours(folder)
    return places(folder)


def places(folder: Path) -> list[Path]:
    """Return what has the name of a checkpoint in a folder, the last one first."""
    found = [folder / name for name in names_in(folder) if _NAME.fullmatch(name)]
    return sorted(found, key=_last_first)


def require_only_ours(folder: Path) -> None:
    """Raise `ResumeError` where something has a name like a checkpoint's and is not ours alone."""
    for name in names_in(folder):
        if name.startswith(EPOCH) or name == FINISHED:
            require_ours(folder / name)


def require_ours(place: Path) -> None:
    """Raise `ResumeError` where a place is not a checkpoint of Frostline's, or holds anything beside one."""
    with errors_named("look at", place):
        strange = _strange(place)
    if strange:
        raise ResumeError(
            f"{str(place)!r} stands where checkpoints go, and is not Frostline's alone",
            received=strange,
            expected="only what fit(..., resume=...) wrote; nothing was changed or removed",
            remedy="move it to another place, or name another folder",
        )


def remove(place: Path) -> None:
    """Remove a checkpoint, or half of one, file by file; what is not ours alone is left as it is.

    The state goes first: without it nobody takes the rest for a whole checkpoint.
    """
    with errors_named("remove", place):
        if not _is_leftover(place) and _strange(place):
            return
        names = names_in(place)
        for name in sorted(names, key=[STATE, ARRAYS, *_half_written(names), MANIFEST].index):
            (place / name).unlink()
        place.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Remove what runs that were killed had begun to write; what has such a name and is not ours stays."""
    for name in filter(_LEFTOVER.fullmatch, names_in(folder)):
        remove(folder / name)


def remove_all(folder: Path, lock: str) -> None:
    """Remove all checkpoints of a run that is over, and the folder itself where nothing else is in it.

    Args:
        folder: Where they are; may not exist. One that is a symbolic link is left alone.
        lock: The name of the folder's lock, which goes last.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    remove_leftovers(folder)
    for place in places(folder):
        remove(place)
    if names_in(folder) == [lock]:
        with errors_named("remove", folder):
            (folder / lock).unlink()
    if not names_in(folder):
        with errors_named("remove", folder):
            folder.rmdir()


def epoch_of(place: Path) -> int | None:
    """Return the epoch in the name of a checkpoint's place; None for that of a run that is over."""
    return None if place.name == FINISHED else int(place.name.removeprefix(EPOCH))


def _last_first(place: Path) -> tuple[bool, int]:
    return place.name != FINISHED, -(epoch_of(place) or 0)


def _strange(place: Path) -> str | None:
    """Say what makes a place another's; None where it is a checkpoint of ours and nothing more."""
    if place.is_symlink():
        return f"a symbolic link to {str(place.readlink())!r}"
    if not place.is_dir():
        return "a file"
    names = names_in(place)
    if not _NAME.fullmatch(place.name) or not _has_manifest(place):
        return f"a folder that carries no manifest of Frostline's, with {listed(names) or 'nothing in it'}"
    others = _others(names)
    return f"a checkpoint with {listed(others)} beside it" if others else None


def _is_leftover(place: Path) -> bool:
    if not _LEFTOVER.fullmatch(place.name) or place.is_symlink() or not place.is_dir():
        return False
    names = names_in(place)
    if _others(names):
        return False
    # The manifest is the first file that is written; before that there is nothing that could be lost.
    return _has_manifest(place) or all((place / name).stat().st_size == 0 for name in names)


def _has_manifest(place: Path) -> bool:
    return any(_says_ours(_bytes(place / name)) for name in (MANIFEST, STATE))


def _says_ours(raw: bytes) -> bool:
    try:
        data = parsed_json(raw)
    except ValueError:
        # A state that was cut or altered says so at its beginning; version 0.1 wrote no other manifest.
        return re.match(rb'\s*\{\s*"' + KEY.encode() + rb'"\s*:', raw) is not None
    return isinstance(data, dict) and KEY in data


def _bytes(path: Path) -> bytes:
    with errors_named("read", path):
        try:
            with opened_plainly(path) as stream:
                return stream.read()
        except FileNotFoundError:
            return b""


def _others(names: list[str]) -> list[str]:
    return [n for n in names if n not in (MANIFEST, ARRAYS, STATE) and not n.startswith(_IN_WRITING)]


def _half_written(names: list[str]) -> list[str]:
    return [name for name in names if name not in (MANIFEST, ARRAYS, STATE)]
