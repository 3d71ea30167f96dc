"""`frostline why`: why weights do or do not receive a gradient."""

from __future__ import annotations

from typing import Annotated

import typer

from frostline.cli import options
from frostline.cli.audit import load_inputs

NAME = "why"
EXAMPLE = "Example: frostline why run.yaml 'head/**'; frostline why model.keras head/kernel --data data.npz"


def run(
    chosen: options.AuditOptions,
    weight: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            show_default=False,
            help="Address of a weight, or a selector such as 'head/**'; all weights, if left out.",
        ),
    ] = "**",
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Say why weights do or do not receive a gradient.

    The operation, the layer and the line that cut it off, and how to fix it. Of several weights those with
    one cause stand together, most weights first. Trains nothing. Exit code 1 where one of them cannot do what
    is planned for it.
    """
    inputs = load_inputs(chosen, loading, quiet=json)
    from frostline.cli.inputs import computing
    from frostline.diagnostics.explanation import Causes, Explanation
    from frostline.diagnostics.why import picks_several, why, why_all

    x, y, weights = inputs.batch
    with options.working("following the gradients", quiet=json), computing(inputs):
        settings = {"loss": inputs.loss, "plan": inputs.plan, "sample_weight": weights}
        answer: Explanation | Causes
        if picks_several(inputs.model, weight):
            answer = why_all(inputs.model, x, y, weights=weight, **settings)
        else:
            answer = why(inputs.model, weight, x, y, **settings)
    if json:
        options.show_json({"frostline": 1, **answer.to_data()})
    else:
        options.show(answer)
    if not answer.ok:
        raise typer.Exit(1)
