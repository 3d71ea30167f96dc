"""The same start, plan and data end in the same numbers on TensorFlow, JAX and PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.folders import HELPERS

BACKENDS = ("tensorflow", "jax", "torch")
SCRIPT = HELPERS / "three_phases.py"
TOLERANCE = 1e-4
"""Measured: 2e-6."""


def trained_on(backend: str, folder: Path) -> dict[str, np.ndarray]:
    """What training through three phases gives on one backend, in a process of its own."""
    file = folder / f"{backend}.npz"
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(SCRIPT), str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(file) as held:
        return dict(held)


@pytest.mark.slow
def test_three_backends_end_alike_after_three_phases(tmp_path: Path) -> None:
    """Under SGD with momentum and decay, and AdamW with averaging and clipping, groups and late joiners."""
    found = {backend: trained_on(backend, tmp_path) for backend in BACKENDS}
    expected = found["jax"]
    for optimizer in ("sgd", "adamw"):
        assert list(expected[f"{optimizer}: moved in head"]) == ["head/bias", "head/kernel"]
        assert "head/kernel" not in expected[f"{optimizer}: moved in all but the head"]
        losses = expected[f"{optimizer}: loss"]
        assert losses[-1] < 0.9 * losses[0], "too little training to see a difference"
    for backend, values in found.items():
        assert values.keys() == expected.keys()
        for name, value in values.items():
            if "moved in" in name:
                assert list(value) == list(expected[name])
            else:
                difference = float(np.abs(value - expected[name]).max())
                assert difference <= TOLERANCE, f"{backend}, {name}: {difference:.1e} from JAX"
