"""The output stream of a command, kept for its results: whatever else is printed goes to the error stream.

A model, a data function or a library that a command runs may print, by `print`, by its own handle on the
output, from C, or through a program that it starts. `--json` would not be JSON any more.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO

_OUTPUT, _ERRORS = 1, 2
"""Numbers of the output and the error stream in every process."""


class OutputLostError(Exception):
    """A result that could not be written, since nobody reads it any more, or there is no room for it.

    Attributes:
        unread: Whether nobody reads it.
        why: What the system says.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.unread = isinstance(error, BrokenPipeError)
        self.why = error.strerror or str(error)


_kept: list[TextIO] = []


def results() -> TextIO | None:
    """Return the stream for results, the output as it was before anything else ran; None if there is none."""
    return _kept[-1] if _kept else sys.stdout


def require_results() -> TextIO:
    """Return the stream for results; raises `OutputLostError` where the process began without an output."""
    stream = results()
    if stream is None:
        raise OutputLostError(OSError(errno.EBADF, "the output is closed"))
    return stream


def write_result(text: str) -> None:
    """Write a part of the result as it is."""
    stream = require_results()
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        raise OutputLostError(error) from None
    except ValueError as error:
        raise OutputLostError(OSError(errno.EBADF, str(error))) from None


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep the output for results while a command runs.

    Where the output is that of the process, its number stays with the error stream until the process ends:
    what C has not yet written, threads, and functions called at exit come after the command.
    """
    if _kept:
        yield
        return
    shown = sys.stdout
    of_process = shown is sys.__stdout__ and _is_open(_ERRORS) and _number(shown) == _OUTPUT
    stream = _moved(shown) if of_process else shown
    _kept.append(stream)
    if not of_process:
        sys.stdout = sys.stderr
    try:
        yield
    finally:
        _kept.pop()
        sys.stdout = stream
        if of_process:
            # Called before what the command's code registered while it ran.
            atexit.register(setattr, sys, "stdout", shown)


def _moved(stream: TextIO) -> TextIO:
    """Give the output another number, and its own to the error stream; what writes to it goes there."""
    stream.flush()
    number = os.dup(_OUTPUT)
    os.dup2(_ERRORS, _OUTPUT)
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(line_buffering=True)
    return open(number, "w", encoding=stream.encoding, errors="backslashreplace")  # noqa: PTH123


def _number(stream: TextIO | None) -> int | None:
    try:
        return stream.fileno() if stream is not None else None
    except (AttributeError, OSError, ValueError):
        return None


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
