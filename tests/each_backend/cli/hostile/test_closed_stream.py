"""Code that closes the error stream does not change how a command ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "code", ["import sys\nsys.stderr.close()\n", "import os\nos.close(2)\n"], ids=["the stream", "its number"]
)
def test_an_error_that_cannot_be_told_has_its_exit_code(folder: Path, code: str) -> None:
    (folder / "closes.py").write_text(f"{code}raise ValueError('mine')\n")
    program = "import sys; from frostline.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "show", "parts:plain", "--import", "closes"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
