"""`frostline verify`: a receipt checked against the models that it is about."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.cli import options
from frostline.render.tables import count

if TYPE_CHECKING:
    from frostline.verification.fingerprint import Fingerprint
    from frostline.verification.receipt import Receipt

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
    strict: Annotated[
        bool, typer.Option(help="Take a weight for the same only under the same address.")
    ] = False,
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Check a receipt of a training run.

    By itself, and against the models before and after training. Exit code 1 where something does not hold.
    """
    from frostline.verification.fingerprint import fingerprint
    from frostline.verification.outcomes import by_order_text
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
    fingerprints = {"before": taken(first, before), "after": taken(last, after)}
    problems = found.check(before=fingerprints["before"], after=fingerprints["after"], strict=strict)
    if (known := first if first is not None else last) is not None:
        problems += found.check_plan(known, strict=strict)
    checked, unchecked = _checked(found, {name for name, one in fingerprints.items() if one is not None})
    if json:
        options.show_json(
            {
                "frostline": 1,
                "ok": not problems,
                "checked": checked,
                "not_checked": unchecked,
                "problems": problems,
                "by_order": _by_order(found, fingerprints, strict=strict),
                "verification": found.verification.to_data(),
            }
        )
    else:
        options.show(found)
        options.show_line()
        options.show_line(f"checked: {', '.join(_NAMES[name] for name in checked)}")
        for name, why in unchecked.items():
            options.show_line(f"not checked: {_NAMES[name]}: {why}")
        if by_order := _by_order(found, fingerprints, strict=strict):
            options.show_line(by_order_text(by_order))
        for problem in problems:
            options.show_line(f"problem: {problem}")
        options.show_line(_verdict(problems, unchecked))
    raise typer.Exit(1 if problems else 0)


_NAMES = {
    "receipt": "the receipt itself",
    "plan": "the plan in it",
    "before": "the model before training",
    "after": "the model after training",
}


def _checked(receipt: Receipt, models: set[str]) -> tuple[list[str], dict[str, str]]:
    """Return what of a receipt is checked, and why the rest is not."""
    reasons = {
        "plan": receipt.plan_unchecked or ("" if models else "it takes one of the two models"),
        "before": "" if "before" in models else "give it as --before MODEL",
        "after": "" if "after" in models else "give it as --after MODEL",
    }
    checked = ["receipt", *(name for name, reason in reasons.items() if not reason)]
    return checked, {name: reason for name, reason in reasons.items() if reason}


def _by_order(
    receipt: Receipt, fingerprints: Mapping[str, Fingerprint | None], *, strict: bool
) -> dict[str, str]:
    """Return which weights have other addresses in the models than in the receipt."""
    claimed = {"before": receipt.before, "after": receipt.after}
    found: dict[str, str] = {}
    for name, fingerprint in fingerprints.items():
        if fingerprint is not None:
            found |= claimed[name].alignment(fingerprint, strict=strict).by_order
    return found


def _verdict(problems: Sequence[str], unchecked: Collection[str]) -> str:
    if problems:
        return f"FAILED: {count(len(problems), 'thing')} {'does' if len(problems) == 1 else 'do'} not hold"
    if not unchecked:
        return "verified: the receipt holds for both models"
    were = "thing was" if len(unchecked) == 1 else "things were"
    return f"holds as far as it was checked: {len(unchecked)} {were} not checked"
