"""Options that several commands share, declared once, and what every command does at its edges."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.render.documents import json_text
from frostline.render.foreign import one_line
from frostline.render.results import require_results, write_result

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
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


@dataclass(frozen=True)
class Loading:
    """How models are loaded."""

    backend: Backend = None
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            show_default=False,
            help="Import this module first, for custom layers. May be given more than once.",
        ),
    ] = None
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe", help="Load .keras files that contain Python code (Lambda layers). Runs it."),
    ] = False

    def load(self, model: str, *, quiet: bool = False, compiled: bool = False) -> Any:
        """Load the model that a command line names; a spinner runs meanwhile on a terminal.

        Args:
            model: A `.keras` file, or `module:function`.
            quiet: Whether to do without the spinner.
            compiled: Whether the model comes with the optimizer and loss in its file.
        """
        from frostline.model.loading import load_named_model

        with working(f"loading {model}", quiet=quiet):
            return load_named_model(
                model,
                backend=self.backend,
                imports=self.imports or (),
                safe_mode=not self.unsafe,
                compiled=compiled,
            )

    def own_classes(self) -> dict[str, Any]:
        """Return the classes and functions of the modules that were imported first."""
        from frostline.model.user_code import defined_in, imported

        return defined_in(imported(self.imports or ()))


@dataclass(frozen=True)
class AuditOptions:
    """What `audit` and `why` look at: a model, some samples and a loss, under a plan."""

    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="A run config (.yaml), or a model: a .keras file, or module:function.",
        ),
    ]
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            show_default=False,
            help="For a model: a .npz or .csv file, a folder of images by class, or module:function.",
        ),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help="The column or array of --data to predict; else guessed.", show_default=False
        ),
    ] = None
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Look at the model under this plan.", show_default=False)
    ] = None
    phase: Annotated[
        str | None,
        typer.Option("--phase", help="The phase of the plan to look at; else the first.", show_default=False),
    ] = None
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            show_default=False,
            help="A loss of Keras's, such as mse, or module:function, in place of the compiled one.",
        ),
    ] = None
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many samples to look at.")] = 32


@contextmanager
def working(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show on the terminal's error stream that long work goes on."""
    console = error_console()
    if quiet or not console.is_terminal:
        yield
        return
    from frostline.render.tables import plain

    with console.status(plain(what)):
        yield


def error_console() -> Console:
    """Return a console on the error stream, so that results alone go to the output."""
    from frostline.render.console import SafeConsole

    return SafeConsole(stderr=True, highlight=False)


def console(*, to_errors: bool = False) -> Console:
    """Return a console as wide as the terminal; 100 columns where there is none."""
    from frostline.render.console import console_on

    return console_on(sys.stderr if to_errors else require_results())


def show(record: Any) -> None:
    """Print something that Rich draws; outside of a terminal without the blanks that fill its lines."""
    drawn = console()
    if drawn.is_terminal:
        drawn.print(record)
        return
    from frostline.render.tables import to_text

    write_result(to_text(record) + "\n")


def show_line(text: str = "") -> None:
    """Print a line of the result as it is, however long."""
    console().print(one_line(text), soft_wrap=True)


def show_json(data: Any) -> None:
    """Print plain data as JSON."""
    write_result(json_text(data) + "\n")


def say(text: str) -> None:
    """Print a line on the error stream."""
    error_console().print(one_line(text), soft_wrap=True)


def refuse_overwriting(path: Path, *, force: bool) -> None:
    """Raise `ModelFileError` where a file exists and the user did not ask to overwrite it."""
    from frostline.errors import ModelFileError
    from frostline.files.reading import kind_of

    if kind_of(path) is not None and not force:
        raise ModelFileError(
            f"{str(path)!r} exists already", remedy="name another file with --out, or add --force"
        )
