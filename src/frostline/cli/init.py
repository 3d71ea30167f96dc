"""`frostline init`: a commented plan to start from, for one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import options
from frostline.errors import PlanFileError, RunConfigError
from frostline.render.documents import shell_line
from frostline.render.results import write_result

NAME = "init"
EXAMPLE = (
    "Example: frostline init model.keras --out plan.yaml; frostline init --run model.keras data.csv "
    "--out run.yaml"
)


def run(
    model: options.Model,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="With --run: a .npz or .csv file, a folder of images by class, or module:function.",
        ),
    ] = None,
    whole_run: Annotated[
        bool, typer.Option("--run", help="Write a run config for `frostline fit` in place of a plan.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; - prints it. Default: plan.yaml, with --run run.yaml.",
            show_default=False,
        ),
    ] = None,
    force: options.Force = False,
    *,
    loading: options.Loading,
) -> None:
    """Write a commented plan for a model, or with --run a whole training run.

    Its head trains; further rules stand ready as comments.
    """
    noun = "run config" if whole_run else "plan"
    out = out or Path("run.yaml" if whole_run else "plan.yaml")
    if whole_run != (data is not None):
        raise RunConfigError(
            "a run config needs data" if whole_run else "a plan needs no data",
            received=None if data is None else f"the data {data!r}",
            remedy="frostline init --run MODEL DATA" if whole_run else "leave it out, or add --run",
        )
    printing = str(out) == "-"
    if out.suffix == ".json":
        raise PlanFileError(
            f"a commented {noun} cannot be written to {str(out)!r}: JSON has no comments",
            remedy=f"write {str(out.with_suffix('.yaml'))!r}",
        )
    if not printing:
        options.refuse_overwriting(out, force=force)
    loaded = loading.load(model, quiet=printing)
    from frostline.files.atomic import write_atomically

    if data is None:
        from frostline.runs.starter_plan import starter_plan

        text = starter_plan(loaded, Path("plan.yaml") if printing else out)
        command = ["frostline", "plan", model, str(out)]
        said = "preview it"
    else:
        from frostline.runs.starter_run import starter_run

        folder = Path.cwd() if printing else out.parent
        output = "run" if printing else f"{out.stem}-output"
        text = starter_run(
            loaded,
            model,
            data,
            folder=folder,
            output=output,
            file=Path("run.yaml") if printing else out,
            imports=loading.imports or (),
            unsafe=loading.unsafe,
        )
        command = ["frostline", "fit", str(out), "--dry-run"]
        said = "estimate time and memory"
    if printing:
        write_result(text)
        return
    write_atomically(out, text.encode(), PlanFileError)
    options.say(f"wrote {out}; {said}: {shell_line(command)}")
