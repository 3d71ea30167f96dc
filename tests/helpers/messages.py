"""Full texts of errors, as tests state them, and the text of the error that something raises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frostline.errors import FrostlineError, PlanFileError


def error_text(what: str, *, received: str = "", expected: str = "", fix: str = "") -> str:
    """The text of an error of these parts, without those that are empty."""
    labelled = (("received: ", received), ("expected: ", expected), ("fix:      ", fix))
    return "\n".join([f"{what}.", *(f"  {label}{part}" for label, part in labelled if part)])


def message_of(error: type[FrostlineError], act: Callable[[], Any]) -> str:
    """The text of the error, of exactly this type, that something raises."""
    with pytest.raises(FrostlineError) as caught:
        act()
    assert type(caught.value) is error
    return str(caught.value)


def message_of_loading(load: Callable[[Path], Any], path: Path) -> str:
    """The text of the error in a plan file."""
    return message_of(PlanFileError, lambda: load(path))
