"""`frostline init`: a commented plan to start from, for one model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import options
from frostline.errors import PlanFileError

NAME = "init"
EXAMPLE = "Example: frostline init model.keras --out plan.yaml"


def run(
    model: options.Model,
    out: Annotated[Path, typer.Option(help="The plan file to write; - prints it.")] = Path("plan.yaml"),
    force: options.Force = False,
    backend: options.Backend = None,
    imports: options.Import = None,
    unsafe: options.UnsafeMode = False,
) -> None:
    """Write a commented plan for a model.

    Its head trains; further rules stand ready as comments.
    """
    printing = str(out) == "-"
    if out.suffix == ".json":
        raise PlanFileError(
            f"a commented plan cannot be written to {str(out)!r}: JSON has no comments",
            remedy=f"write {str(out.with_suffix('.yaml'))!r}",
        )
    if not printing:
        options.refuse_overwriting(out, force=force)
    loaded = options.load(model, backend=backend, imports=imports, unsafe=unsafe, quiet=printing)
    from frostline.files import write_atomically
    from frostline.starter import starter_plan

    text = starter_plan(loaded)
    if printing:
        typer.echo(text, nl=False)
        return
    write_atomically(out, text.encode(), PlanFileError)
    command = ["frostline", "plan", model, str(out)]
    options.say(f"wrote {out}; see what it trains with: {shlex.join(command)}")
