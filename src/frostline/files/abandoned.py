"""Temporary files whose writer was killed: known by names that Frostline alone gives, and removed.

Such a name holds the process that writes and the machine that it runs on. A file is removed where that
process is known to be dead. Of another machine, or of the same one before it was started again, nobody knows:
there, a file goes that nobody has written to for a day.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import stat
import time
from pathlib import Path

from blake3 import blake3

_LONGEST = 120
"""Bytes of a name that are taken over into that of its temporary file: a name has no more than 255."""

_A_DAY = 24 * 60 * 60


def begin_of_temporary(path: Path) -> str:
    """Return how the name of a temporary file begins that becomes `path`."""
    return f"{_stem(path.name)}{os.getpid()}.{_machine()}.frostline-"


def remove_abandoned(path: Path) -> None:
    """Remove what earlier writers of the same file left when they were killed; whatever else stays."""
    pattern = re.compile(
        rf"{re.escape(_stem(path.name))}(\d+)\.([0-9a-f]{{8}})\.frostline-\w{{8}}.*", re.DOTALL
    )
    # A folder that cannot be listed is not a reason not to write.
    with contextlib.suppress(OSError, ValueError), os.scandir(path.parent) as entries:
        found = [(entry.path, match) for entry in entries if (match := pattern.fullmatch(entry.name))]
        for name, match in found:
            if _is_abandoned(name, int(match[1]), match[2]):
                with contextlib.suppress(OSError):
                    os.unlink(name)  # noqa: PTH108


def _stem(name: str) -> str:
    if len(name.encode("utf-8", "surrogateescape")) <= _LONGEST:
        return f".{name}."
    return f".{blake3(name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}."


def _is_abandoned(name: str, process: int, machine: str) -> bool:
    found = os.lstat(name)
    if not stat.S_ISREG(found.st_mode):
        return False
    if machine == _machine():
        return _is_dead(process)
    return time.time() - found.st_mtime > _A_DAY


def _is_dead(process: int) -> bool:
    # On Windows the same call would end the process.
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


@functools.cache
def _machine() -> str:
    """Return what tells the processes of one machine, since it was started, from all others.

    Within a container processes have numbers of their own, so that it counts as a machine.
    """
    known = [platform.node()]
    for place in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            known.append(os.readlink(place) if place.endswith("pid") else _line(place))  # noqa: PTH115
    return blake3("\n".join(known).encode()).hexdigest()[:8]


def _line(place: str) -> str:
    with open(place, encoding="ascii") as stream:  # noqa: PTH123
        return stream.readline()
