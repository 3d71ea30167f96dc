"""Each test of `frostline audit` works in a folder of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from helpers.audit_folder import (
    LABELS,
    MODULE,
    PLANS,
    draw_images,
)
from helpers.command_line import folder_beside


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and the same data in every form."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "mine.py").write_text(MODULE)
    for name, plan in PLANS.items():
        (folder / name).write_text(yaml.safe_dump({"frostline": 1, **plan}, sort_keys=False))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4)).astype("float32")
    y = np.argmax(x[:, :3], axis=1)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "named.npz", things=x, kinds=y)
    np.savez(folder / "narrow.npz", x=x[:, :3], y=y)
    np.savez(folder / "classes.npz", x=x, y=y + 1)
    (folder / "cut.npz").write_bytes((folder / "data.npz").read_bytes()[:200])
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["kind", "p", "q", "r", "s"])
        writer.writerows([LABELS[label], *row] for row, label in zip(x.tolist(), y, strict=True))
    draw_images(folder / "images", rng)
    return folder


folder = pytest.fixture(autouse=True)(folder_beside)
