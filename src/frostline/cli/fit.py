"""`frostline fit`: train as a config says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import options
from frostline.cli.ending import INTERRUPTED
from frostline.render.documents import shell_line

NAME = "fit"
EXAMPLE = (
    "Example: frostline init --run model.keras data.npz --out run.yaml; frostline fit run.yaml --dry-run; "
    "frostline fit run.yaml"
)


def run(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", show_default=False, help="A run config, YAML or JSON.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would train, for how long and in how much memory.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where the output folder holds a run.")
    ] = False,
    json: options.Json = False,
    backend: options.Backend = None,
) -> None:
    """Train a model as a config says.

    Writes the model, its delta, its receipt and its history to the output folder. An interrupted run goes on
    where it was, by the same command. Exit code 130 after Ctrl-C.
    """
    from frostline.backend_choice import choose_backend
    from frostline.runs.config import load_run
    from frostline.runs.folder import identity_of, require_available, tidy_finished

    read = load_run(config)
    chosen = choose_backend(backend or read.data.backend)
    identity = identity_of(read, chosen)
    if not dry_run:
        tidy_finished(read)
        require_available(read, identity, overwrite=overwrite)
    with options.working("starting Keras", quiet=json):
        from frostline.runs import estimate, execute

    if dry_run:
        estimated = estimate.estimate(read)
        if json:
            options.show_json(estimated.to_data())
        else:
            options.show(estimated)
        return
    try:
        outcome = execute.execute(read, identity, options.console(to_errors=json), overwrite=overwrite)
    except KeyboardInterrupt:
        options.say(f"interrupted; to continue: {shell_line(['frostline', 'fit', str(config)])}")
        raise typer.Exit(INTERRUPTED) from None
    if json:
        options.show_json(outcome.to_data())
