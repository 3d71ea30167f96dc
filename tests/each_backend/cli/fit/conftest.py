"""Each test of `frostline fit` works in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command_line import at_work_beside
from helpers.run_configs import prepare_folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, and the same data in every form."""
    return prepare_folder(tmp_path_factory.mktemp("prepared_for_fit"))


@pytest.fixture(autouse=True)
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that shows them, in which the test stands."""
    with at_work_beside(prepared, tmp_path, monkeypatch):
        yield tmp_path
