"""Run configs that need no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline.data.npz import load_npz
from frostline.data.sources import NpzData
from frostline.errors import DataError
from frostline.runs.config import RunConfig, load_run

KEYS = (
    "frostline, model, data, validation, plan, compile, epochs, batch_size, seed, output, stop_early, "
    "reduce_lr, watch, callbacks, backend, import, unsafe"
)


BASE = """\
frostline: 1
model: base.keras
data:
  npz: data.npz
plan:
  rules:
    - train: 'head/**'
epochs: 2
output: out
"""


PHASES = BASE.replace("epochs: 2\n", "").replace(
    "output", "  phases:\n    - {name: probe, epochs: 3, until: {monitor: val_loss}}\noutput"
)


def load(text: str) -> RunConfig:
    Path("run.yaml").write_text(text)
    return load_run("run.yaml")


def archive(**arrays: Any) -> str:
    np.savez("bad.npz", **arrays)
    with pytest.raises(DataError) as caught:
        load_npz(Path("bad.npz"), NpzData(npz="bad.npz"))
    return str(caught.value)
