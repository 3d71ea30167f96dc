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
        str, typer.Option(help="Say how much memory this optimizer takes under the plan.")
    ] = "adam",
    full: options.Full = False,
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Preview what a plan trains in a model.

    What trains, what does not, and for each the rule that decided.
    """
    from frostline.plan.schedule import Schedule, load_plan_or_schedule

    rules = load_plan_or_schedule(plan)
    loaded = loading.load(model, quiet=json)
    from frostline.resolution.resolve import resolve

    if not isinstance(rules, Schedule):
        resolved = resolve(loaded, rules, optimizer=optimizer)
        if json:
            options.show_json(resolved.to_data())
        else:
            options.show(resolved.table(full=full))
        return
    phases = [(p, resolve(loaded, rules.plan_of(p), optimizer=optimizer)) for p in rules.phases]
    if json:
        data = [{"name": phase.name, **resolved.to_data()} for phase, resolved in phases]
        options.show_json({"frostline": 1, "phases": data})
        return
    for phase, resolved in phases:
        options.show(f"\nphase {phase}")
        options.show(resolved.table(full=full))
