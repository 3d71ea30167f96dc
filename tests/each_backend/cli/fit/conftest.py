"""Each test of `frostline fit` works in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.command_line import folder_beside
from helpers.run_configs import prepare_folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, and the same data in every form."""
    return prepare_folder(tmp_path_factory.mktemp("prepared_for_fit"))


folder = pytest.fixture(autouse=True)(folder_beside)
