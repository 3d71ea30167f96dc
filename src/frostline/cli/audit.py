"""`frostline audit`: what becomes of every weight in training, and what is wrong."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.cli import options

if TYPE_CHECKING:
    from frostline.runs.asked import Asked

NAME = "audit"
EXAMPLE = "Example: frostline audit run.yaml; frostline audit model.keras --data data.npz --plan plan.yaml"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="A run config (.yaml), or a model: a .keras file, or module:function.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="A .npz archive with arrays x and y, for a model.", show_default=False),
]
Loss = Annotated[
    str | None,
    typer.Option("--loss", help="Loss of a model that is not compiled, such as mse.", show_default=False),
]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Take that many samples as the batch.")]


class Severity(StrEnum):
    """From which findings on the exit code is 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def run(
    source: Source,
    data: Data = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Audit the model under this plan.", show_default=False)
    ] = None,
    loss: Loss = None,
    severity: Annotated[Severity, typer.Option(help="Findings that make the exit code 1.")] = Severity.ERROR,
    samples: Samples = 32,
    json: options.Json = False,
    backend: options.Backend = None,
    imports: options.Import = None,
    unsafe: options.UnsafeMode = False,
) -> None:
    """Say what becomes of every weight in training.

    A status for each weight, the line that cuts a gradient off, and what else to know. Trains nothing. Exit
    code 1 where a weight does not do what is planned, or for findings of the given severity.
    """
    asked = ask(source, data, backend=backend, imports=imports, unsafe=unsafe, samples=samples, quiet=json)
    from frostline.auditing.finding import SEVERITIES
    from frostline.auditing.looking import audit

    rules = asked.plan if plan is None else _plan(plan)
    x, y, weight = asked.batch
    with options.working("following the gradients", quiet=json):
        found = audit(asked.model, x, y, plan=rules, loss=loss, sample_weight=weight)
    if json:
        options.show_json(found.to_data())
    else:
        options.show(found)
    counted = SEVERITIES[: SEVERITIES.index(severity.value) + 1]
    if not found.ok or any(finding.severity in counted for finding in found.findings):
        raise typer.Exit(1)


def ask(
    source: str,
    data: Path | None,
    *,
    backend: str | None,
    imports: list[str] | None,
    unsafe: bool,
    samples: int,
    quiet: bool,
) -> Asked:
    """Load what a command line names: a run config, or a model and data."""
    from frostline.models import choose_backend, load_model

    by_config = Path(source).suffix in (".yaml", ".yml", ".json")
    if by_config:
        from frostline.runs.config import load_run

        backend = backend or load_run(Path(source)).data.backend
    choose_backend(backend)
    with options.working(f"loading {source}", quiet=quiet):
        from frostline.runs import asked

        if by_config:
            return asked.from_config(Path(source), samples)
        model = load_model(
            source, backend=backend, imports=imports or (), safe_mode=not unsafe, compiled=True
        )
        return asked.from_files(model, data, samples)


def _plan(path: Path) -> Any:
    from frostline.planfile import load_plan_or_schedule
    from frostline.schedule import Schedule

    read = load_plan_or_schedule(path)
    return read.plan_of(read.phases[0]) if isinstance(read, Schedule) else read
