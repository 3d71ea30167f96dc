"""Each test of the command line works in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command_line_folder import at_work_in_a_copy, prepare_folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, whole and damaged, plans, modules, a receipt."""
    return prepare_folder(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(autouse=True)
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of them, in which the test stands."""
    with at_work_in_a_copy(prepared, tmp_path, monkeypatch) as here:
        yield here
