"""The `frostline` command: its verbs, and what happens to errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import audit, delta, demo, fit, init, plan, show, verify, why
from frostline.cli.ending import exit_code, messages_shown
from frostline.cli.records import takes_records
from frostline.errors import FrostlineError

app = typer.Typer(
    name="frostline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from frostline._version import __version__

        typer.echo(f"frostline {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Example: frostline init model.keras --out plan.yaml; frostline plan model.keras plan.yaml. "
    "Exit codes: 0 clean, 1 findings, 2 could not run."
)
def _frostline(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Decide what trains in a Keras model, see why, prove it, pay only for it."""


for _command in (show, plan, init, audit, why, fit, verify, demo):
    app.command(_command.NAME, epilog=_command.EXAMPLE)(takes_records(_command.run))


app.add_typer(delta.app, name=delta.NAME)


def _require_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise FrostlineError(
            "the folder that this command runs in cannot be reached any more",
            received=error.strerror,
            remedy="change to another folder, such as cd ~, and give whole paths",
        ) from None


def main() -> None:
    """Run the command line; errors go to the error stream, with exit code 2."""
    try:
        with messages_shown():
            _require_folder()
            app(prog_name="frostline")
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(exit_code(error))
