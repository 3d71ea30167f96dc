"""How a command ends: by its own answer, and never by what code that it runs raises.

Exit code 0 says that nothing is wrong, 1 that something was found. A model or a callback that calls
`sys.exit(0)`, or that fails where nobody foresaw it, must not say either.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from frostline.errors import FrostlineError
from frostline.render.foreign import visible
from frostline.render.results import OutputLostError

COULD_NOT_RUN = 2
_ERRORS = 2
"""The number of the error stream in every process."""

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""


@contextmanager
def ends_only_itself() -> Iterator[None]:
    """Turn what the user's code raises to end the program into an error.

    Raises:
        FrostlineError: The code did so; names its file and line.
    """
    try:
        yield
    except (FrostlineError, KeyboardInterrupt, OutputLostError):
        raise
    except BaseException as error:
        # `typer.Exit` ends commands, but may come out of code that is a command line of its own.
        from frostline.model.user_code import failure, place_in_users_code

        if isinstance(error, Exception) and not place_in_users_code(error):
            if not _came_out_of_a_library(error):
                raise
            raise failure("Keras failed, or the code that it ran", error) from error
        raise failure("the code that the command ran failed", error) from error


_LIBRARIES = ("keras", "tensorflow", "jax", "jaxlib", "torch")


def _came_out_of_a_library(error: Exception) -> bool:
    """Whether Keras or a backend raised it: TensorFlow loses the line of the user's that failed."""
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    return any(f"{os.sep}site-packages{os.sep}{name}{os.sep}" in innermost for name in _LIBRARIES)


def exit_code(error: BaseException) -> int:
    """Say what ended a command, and return its exit code."""
    if isinstance(error, OutputLostError) and error.unread:
        # The reader of our output went away (`| head`): nothing more to say, and no second failure at exit.
        sys.stderr.close()
        return 0
    if isinstance(error, OutputLostError):
        _tell(f"error: the result cannot be written: {error.why}.\n")
    elif isinstance(error, FrostlineError):
        _tell(f"error: {error}\n")
    elif isinstance(error, KeyboardInterrupt):
        _tell("interrupted\n")
        return INTERRUPTED
    else:
        _tell(visible("".join(traceback.format_exception(error))))
        _tell("error: this is a defect of Frostline; please report the lines above.\n")
    return COULD_NOT_RUN


def _tell(text: str) -> None:
    """Write to the error stream; where code of the user's has closed it, the exit code still holds."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        # What is left in it must not fail once more, when Python ends: that has exit codes of its own.
        sys.stderr = cast(TextIO, None)
        with suppress(OSError):
            os.write(_ERRORS, text.encode("utf-8", "backslashreplace"))


@contextmanager
def messages_shown() -> Iterator[None]:
    """Show what is written to the error stream: the parser's messages hold words of the command line."""
    stream = sys.stderr
    sys.stderr = cast(TextIO, _ShownStream(stream))
    try:
        yield
    finally:
        sys.stderr = stream


@contextmanager
def as_a_program() -> Iterator[None]:
    """Give code that runs the error stream itself, where it may draw; warnings are shown, whoever warns."""
    stream, form = sys.stderr, warnings.formatwarning

    def shown(*about: Any, **more: Any) -> str:
        return visible(form(*about, **more))

    sys.stderr = stream.stream if isinstance(stream, _ShownStream) else stream
    warnings.formatwarning = shown
    try:
        yield
    finally:
        sys.stderr, warnings.formatwarning = stream, form


class _ShownStream:
    """A stream on which nothing of what is written acts."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text as it can be shown."""
        self.stream.write(visible(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
