"""`frostline plan`: what a plan would train in a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import options

NAME = "plan"
EXAMPLE = "Example: frostline plan model.keras plan.yaml --optimizer adamw"


def run(
    model: options.Model,
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN", show_default=False, help="A plan file, YAML or JSON.")
    ],
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="Say what this optimizer would keep for the trained weights, such as adam.",
            show_default=False,
        ),
    ] = None,
    full: options.Full = False,
    json: options.Json = False,
    backend: options.Backend = None,
    imports: options.Import = None,
    unsafe: options.UnsafeMode = False,
) -> None:
    """Preview what a plan trains in a model.

    What trains, what does not, and for each the rule that decided.
    """
    from frostline.plan import Plan

    rules = Plan.load(plan)
    loaded = options.load(model, backend=backend, imports=imports, unsafe=unsafe, quiet=json)
    from frostline.resolution import resolve

    resolution = resolve(loaded, rules, optimizer=optimizer)
    if json:
        options.show_json(resolution.to_data())
    else:
        options.show(resolution.table(full=full))
