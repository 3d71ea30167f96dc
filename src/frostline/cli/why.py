"""`frostline why`: why one weight does or does not receive a gradient."""

from __future__ import annotations

from typing import Annotated

import typer

from frostline.cli import audit, options

NAME = "why"
EXAMPLE = "Example: frostline why run.yaml head/kernel; frostline why model.keras head/kernel --data data.npz"


def run(
    source: audit.Source,
    weight: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHT", show_default=False, help="Address of a weight, or a selector that picks one."
        ),
    ],
    data: audit.Data = None,
    target: audit.Target = None,
    plan: audit.UnderPlan = None,
    phase: audit.Phase = None,
    loss: audit.Loss = None,
    samples: audit.Samples = 32,
    json: options.Json = False,
    backend: options.Backend = None,
    imports: options.Import = None,
    unsafe: options.UnsafeMode = False,
) -> None:
    """Say why a weight does or does not receive a gradient.

    The operation, the layer and the line that cut it off, and how to mend it. Trains nothing. Exit code 1
    where the weight cannot do what is planned for it.
    """
    asked = audit.ask(
        *(source, data, target, plan, phase, loss, samples),
        backend=backend,
        imports=imports,
        unsafe=unsafe,
        quiet=json,
    )
    from frostline.cli.inputs import computing
    from frostline.diagnostics.why import why

    x, y, weights = asked.batch
    with options.working("following the gradients", quiet=json), computing(asked):
        answer = why(asked.model, weight, x, y, loss=asked.loss, plan=asked.plan, sample_weight=weights)
    if json:
        options.show_json({"frostline": 1, **answer.to_data()})
    else:
        options.show(answer)
    if answer.status not in ("trains", "partial", "frozen"):
        raise typer.Exit(1)
