"""Options that several commands share, declared once, and what every command does at its edges."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A .keras file, or module:function that returns a built model.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Full = Annotated[bool, typer.Option("--full", help="One row for every weight.")]
Backend = Annotated[
    str | None,
    typer.Option(
        help="Keras backend: tensorflow, jax or torch. Default: KERAS_BACKEND, Keras's own setting, or "
        "the one that is installed.",
        show_default=False,
    ),
]
Import = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        show_default=False,
        help="Import this module first, for custom layers. May be given more than once.",
    ),
]
UnsafeMode = Annotated[
    bool,
    typer.Option("--unsafe", help="Load .keras files that contain Python code (Lambda layers). Runs it."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


def load(
    model: str, *, backend: str | None, imports: list[str] | None, unsafe: bool, quiet: bool = False
) -> Any:
    """Load the model that a command line names; a spinner runs meanwhile on a terminal."""
    from frostline.model.loading import load_model

    with working(f"loading {model}", quiet=quiet):
        return load_model(model, backend=backend, imports=imports or (), safe_mode=not unsafe)


@contextmanager
def working(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show on the terminal's error stream that long work goes on."""
    console = error_console()
    if quiet or not console.is_terminal:
        yield
        return
    from rich.markup import escape

    with console.status(escape(what)):
        yield


def error_console() -> Console:
    """Return a console on the error stream, so that results alone go to the output."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def console(*, to_errors: bool = False) -> Console:
    """Return a console as wide as the terminal; 100 columns where there is none."""
    from rich.console import Console

    found = Console(highlight=False, stderr=to_errors)
    return (
        found if found.is_terminal else Console(highlight=False, stderr=to_errors, width=100, no_color=True)
    )


def show(record: Any) -> None:
    """Print something that Rich draws; outside of a terminal without the blanks that fill its lines."""
    drawn = console()
    if drawn.is_terminal:
        drawn.print(record)
        return
    from frostline.render import to_text

    sys.stdout.write(to_text(record) + "\n")


def show_json(data: Any) -> None:
    """Print plain data as JSON."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def say(text: str) -> None:
    """Print a line on the error stream."""
    error_console().print(text, markup=False, soft_wrap=True)


def refuse_overwriting(path: Path, *, force: bool) -> None:
    """Raise `ModelFileError` where a file exists and the user did not ask to overwrite it."""
    from frostline.errors import ModelFileError

    if path.exists() and not force:
        raise ModelFileError(
            f"{str(path)!r} exists already", remedy="name another file with --out, or add --force"
        )
