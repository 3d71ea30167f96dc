"""`frostline audit`: what becomes of every weight in training, and what is wrong."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frostline.cli import options

if TYPE_CHECKING:
    from frostline.cli.inputs import Asked

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
    str | None,
    typer.Option(
        "--data",
        show_default=False,
        help="For a model: a .npz or .csv file, a folder of images by class, or module:function.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target", help="The column or array of --data to predict; else guessed.", show_default=False
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        "--loss",
        show_default=False,
        help="A loss of Keras's, such as mse, or module:function, in place of the compiled one.",
    ),
]
UnderPlan = Annotated[
    Path | None, typer.Option("--plan", help="Look at the model under this plan.", show_default=False)
]
Phase = Annotated[
    str | None,
    typer.Option("--phase", help="The phase of the plan to look at; else the first.", show_default=False),
]
Samples = Annotated[int, typer.Option("--samples", min=1, help="How many samples to look at.")]


class Severity(StrEnum):
    """From which findings on the exit code is 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def run(
    source: Source,
    data: Data = None,
    target: Target = None,
    plan: UnderPlan = None,
    phase: Phase = None,
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
    asked = ask(
        *(source, data, target, plan, phase, loss, samples),
        backend=backend,
        imports=imports,
        unsafe=unsafe,
        quiet=json,
    )
    from frostline.cli.inputs import computing
    from frostline.diagnostics.audit import audit
    from frostline.diagnostics.finding import SEVERITIES

    x, y, weight = asked.batch
    with options.working("following the gradients", quiet=json), computing(asked):
        found = audit(asked.model, x, y, plan=asked.plan, loss=asked.loss, sample_weight=weight)
    if json:
        options.show_json(found.to_data())
    else:
        options.show(found)
    counted = SEVERITIES[: SEVERITIES.index(severity.value) + 1]
    if not found.ok or any(finding.severity in counted for finding in found.findings):
        raise typer.Exit(1)


def ask(
    source: str,
    data: str | None,
    target: str | None,
    plan: Path | None,
    phase: str | None,
    loss: str | None,
    samples: int,
    *,
    backend: str | None,
    imports: list[str] | None,
    unsafe: bool,
    quiet: bool,
) -> Asked:
    """Load what a command line names: a run config, or a model and data."""
    from frostline.backend_choice import choose_backend
    from frostline.model.loading import load_model
    from frostline.plan.schedule import load_plan_or_schedule

    config = None
    if Path(source).suffix in (".yaml", ".yml", ".json"):
        from frostline.runs.config import load_run

        _require_unsaid(data=data, target=target)
        config = load_run(Path(source))
        backend = backend or config.data.backend
    else:
        from frostline.runs.guess import require_data

        data = require_data(data)
    rules = None if plan is None else load_plan_or_schedule(plan)
    choose_backend(backend)
    with options.working(f"loading {source}", quiet=quiet), warnings.catch_warnings():
        # An optimizer that has made no step was saved without its slots: no news for an audit.
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        from frostline.cli import inputs as asked

        wanted = asked.Wanted(samples, loss, target, rules, phase)
        if config is not None:
            return asked.from_config(config, wanted)
        model = load_model(
            source, backend=backend, imports=imports or (), safe_mode=not unsafe, compiled=True
        )
        return asked.from_files(model, data or "", wanted)


def _require_unsaid(**given: str | None) -> None:
    from frostline.errors import RunError

    for name, value in given.items():
        if value is not None:
            raise RunError(
                f"a run config names its own data, so --{name} has no place beside it",
                received=f"--{name} {value}",
                remedy=f"leave --{name} out, or give the model in place of the config",
            )
