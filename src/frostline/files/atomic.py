"""Reading and writing whole files: nothing half-written, nothing lost, errors that say what to do."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from frostline.errors import FrostlineError
from frostline.files.similar import similar_files
from frostline.files.text import SAVE_AS_UTF8, other_encoding, without_mark


def read_text(path: Path, error: type[FrostlineError], kind: str) -> str:
    """Return the text of a UTF-8 file, or raise `error` with the reason and the remedy.

    A byte order mark at its beginning is left out, and line breaks of other systems become plain ones.
    """
    try:
        raw = path.read_bytes()
        if (encoding := other_encoding(raw)) is not None:
            raise error(
                f"the {kind} {str(path)!r} is not text in UTF-8",
                received=f"text in {encoding}",
                remedy=SAVE_AS_UTF8,
            )
        text = without_mark(raw).decode("utf-8")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise error(
            f"there is no {kind} {str(path)!r}",
            remedy=similar_files(path, *filter(None, [path.suffix])),
        ) from None
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        raise error(
            f"the {kind} {str(path)!r} is not text in UTF-8",
            received=f"byte {problem.object[problem.start]:#04x} on line {line}",
        ) from None
    except OSError as problem:
        raise error(f"the {kind} {str(path)!r} cannot be read: {problem.strerror}") from None


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
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as problem:
        raise error(
            f"cannot write {str(path)!r}: {problem.strerror}",
            expected="a folder that exists and that you may write to",
            remedy="name another output file",
        ) from None
    finally:
        # Still there after any failure, an interrupt included.
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
