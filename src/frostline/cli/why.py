"""`frostline why`: why one weight does or does not receive a gradient."""

from __future__ import annotations

from typing import Annotated

import typer

from frostline.cli import options
from frostline.cli.audit import load_inputs

NAME = "why"
EXAMPLE = "Example: frostline why run.yaml head/kernel; frostline why model.keras head/kernel --data data.npz"


def run(
    chosen: options.AuditOptions,
    weight: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHT", show_default=False, help="Address of a weight, or a selector that picks one."
        ),
    ],
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Say why a weight does or does not receive a gradient.

    The operation, the layer and the line that cut it off, and how to fix it. Trains nothing. Exit code 1
    where the weight cannot do what is planned for it.
    """
    inputs = load_inputs(chosen, loading, quiet=json)
    from frostline.cli.inputs import computing
    from frostline.diagnostics.explanation import AS_PLANNED
    from frostline.diagnostics.why import why

    x, y, weights = inputs.batch
    with options.working("following the gradients", quiet=json), computing(inputs):
        answer = why(inputs.model, weight, x, y, loss=inputs.loss, plan=inputs.plan, sample_weight=weights)
    if json:
        options.show_json({"frostline": 1, **answer.to_data()})
    else:
        options.show(answer)
    if answer.status not in AS_PLANNED:
        raise typer.Exit(1)
