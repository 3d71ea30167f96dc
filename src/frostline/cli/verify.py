"""`frostline verify`: a receipt checked against the models that it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from frostline.cli import options

NAME = "verify"
EXAMPLE = "Example: frostline verify receipt.json --before base.keras --after tuned.keras"


def run(
    receipt: Annotated[
        Path, typer.Argument(metavar="RECEIPT", show_default=False, help="What Receipt.save wrote.")
    ],
    before: Annotated[
        str | None, typer.Option(help="The model that training began with.", show_default=False)
    ] = None,
    after: Annotated[str | None, typer.Option(help="The model that came out.", show_default=False)] = None,
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Check a receipt of a training run.

    By itself, and against the models before and after training. Exit code 1 where something does not hold.
    """
    from frostline.verification.fingerprint import fingerprint
    from frostline.verification.receipt import Receipt

    found = Receipt.load(receipt)

    def loaded(model: str | None) -> Any:
        if model is None:
            return None
        return loading.load(model, quiet=json)

    def taken(model: Any, name: str | None) -> Any:
        if model is None:
            return None
        with options.working(f"reading every weight of {name}", quiet=json):
            return fingerprint(model)

    first, last = loaded(before), loaded(after)
    problems = found.check(before=taken(first, before), after=taken(last, after))
    if (known := first if first is not None else last) is not None:
        problems += found.check_plan(known)
    checked = [name for name, model in (("before", before), ("after", after)) if model is not None]
    if json:
        options.show_json(
            {
                "frostline": 1,
                "ok": not problems,
                "checked": ["receipt", *checked],
                "problems": problems,
                "verification": found.verification.to_data(),
            }
        )
    else:
        options.show(found)
        against = f" and the model {' and the model '.join(checked)} training" if checked else ""
        for problem in problems:
            options.say(f"problem: {problem}")
        options.say(f"{'FAILED' if problems else 'holds'}: checked the receipt itself{against}")
        if not checked:
            options.say("to check the models too: --before BASE --after TUNED")
    raise typer.Exit(1 if problems else 0)
