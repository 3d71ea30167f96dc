"""The smoke that `make test-versions` tries versions with passes with these: all that is public, once."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest

from helpers.folders import TESTS

pytestmark = [pytest.mark.slow, pytest.mark.every_backend]


def test_all_that_is_public_runs() -> None:
    done = subprocess.run(
        [sys.executable, TESTS / "versions" / "smoke.py"],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
