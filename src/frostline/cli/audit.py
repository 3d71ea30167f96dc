"""`frostline audit`: what becomes of every weight in training, and what is wrong."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frostline.cli import options

if TYPE_CHECKING:
    from frostline.cli.inputs import AuditInputs

NAME = "audit"
EXAMPLE = "Example: frostline audit run.yaml; frostline audit model.keras --data data.npz --plan plan.yaml"


class Severity(StrEnum):
    """From which findings on the exit code is 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def run(
    chosen: options.AuditOptions,
    severity: Annotated[Severity, typer.Option(help="Findings that make the exit code 1.")] = Severity.ERROR,
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Say what becomes of every weight in training.

    A status for each weight, the line that cuts a gradient off, and what else to know. Trains nothing. Exit
    code 1 where a weight does not do what is planned, or for findings of the given severity.
    """
    inputs = load_inputs(chosen, loading, quiet=json)
    from frostline.cli.inputs import computing
    from frostline.diagnostics.audit import audit
    from frostline.diagnostics.finding import SEVERITIES

    x, y, weight = inputs.batch
    with options.working("following the gradients", quiet=json), computing(inputs):
        found = audit(inputs.model, x, y, plan=inputs.plan, loss=inputs.loss, sample_weight=weight)
    if json:
        options.show_json(found.to_data())
    else:
        options.show(found)
    counted = SEVERITIES[: SEVERITIES.index(severity.value) + 1]
    if not found.ok or any(finding.severity in counted for finding in found.findings):
        raise typer.Exit(1)


def load_inputs(chosen: options.AuditOptions, loading: options.Loading, *, quiet: bool) -> AuditInputs:
    """Load what a command line names: a run config, or a model and data."""
    from frostline.backend_choice import choose_backend
    from frostline.plan.schedule import load_plan_or_schedule

    config, backend, data = None, loading.backend, ""
    if Path(chosen.source).suffix in (".yaml", ".yml", ".json"):
        from frostline.runs.config import load_run

        _require_absent(data=chosen.data, target=chosen.target)
        config = load_run(Path(chosen.source))
        backend = backend or config.data.backend
    else:
        from frostline.runs.guess import require_data

        data = require_data(chosen.data)
    plan = None if chosen.plan is None else load_plan_or_schedule(chosen.plan)
    choose_backend(backend)
    with options.working(f"loading {chosen.source}", quiet=quiet), warnings.catch_warnings():
        # An optimizer that has made no step was saved without its slots: no news for an audit.
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        from frostline.cli.inputs import from_config, from_files

        if config is not None:
            return from_config(config, chosen, plan)
        model = loading.load(chosen.source, quiet=True, compiled=True)
        return from_files(model, data, chosen, plan)


def _require_absent(**given: str | None) -> None:
    from frostline.errors import RunError

    for name, value in given.items():
        if value is not None:
            raise RunError(
                f"--{name} cannot be combined with a run config, which names its own data",
                received=f"--{name} {value}",
                remedy=f"leave --{name} out, or give the model in place of the config",
            )
