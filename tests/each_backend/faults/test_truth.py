"""What the headers of the benchmark of faults claim is what plain training shows."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest

from helpers.folders import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.every_backend]


def test_every_header_is_true() -> None:
    """In a process of its own: three hundred models leave much behind."""
    environment = os.environ | {"KERAS_BACKEND": keras.backend.backend(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.faults.truth"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
