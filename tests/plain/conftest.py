"""What several folders of tests without Keras share."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and a plan; the process stands in it."""
    with zipfile.ZipFile(tmp_path / "base.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 2)), y=np.zeros(4), ids=np.zeros((4, 3)))
    (tmp_path / "table.csv").write_text("a,b,kind\n1,2,ant\n3,4,bee\n")
    (tmp_path / "plan.yaml").write_text("frostline: 1\nrules: [{train: 'head/**'}]\n")
    (tmp_path / "wrong.yaml").write_text("frostline: 1\nrulse: []\n")
    for name in ("cats", "dogs"):
        (tmp_path / "images" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
