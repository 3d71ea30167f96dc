"""A folder with models and code that nobody would wish for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import folder_beside
from helpers.hostile_folder import prepare_folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with strange names, code that ends programs or prints, and data."""
    folder = prepare_folder(tmp_path_factory.mktemp("hostile"))
    np.savez(folder / "data.npz", x=np.ones((8, 2), "float32"), y=np.zeros(8, "int64"))
    return folder


folder = pytest.fixture(autouse=True)(folder_beside)
