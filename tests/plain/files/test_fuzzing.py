"""Every reader under files that are nearly whole: a result or a `FrostlineError`, soon, and in little memory.

`FROSTLINE_FUZZ_SECONDS` says how long each takes in `make test-all`, 60 by default.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.fuzzing import MishandledError, check, fuzz
from helpers.readers import PLAIN, READERS

FUZZED = [name for name in READERS if name != "digest"]
LONG = float(os.environ.get("FROSTLINE_FUZZ_SECONDS", "60"))
HELPERS = Path(__file__).parents[2] / "helpers"


@pytest.mark.parametrize("name", [name for name in FUZZED if name in PLAIN])
def test_a_moment_of_fuzzing(name: str) -> None:
    assert fuzz(name, 0.3, seed=int(time.time())) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", FUZZED)
def test_fuzzing(name: str) -> None:
    words = [sys.executable, str(HELPERS / "fuzzing.py"), name, str(LONG), str(int(time.time()))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=4 * LONG + 300)
    assert done.returncode == 0, done.stderr[-3000:]


class Mishandling:
    """A reader that does with a file what no reader may."""

    def __init__(self, act: Any) -> None:
        self.read = act


def deep(path: Path) -> None:
    raise RecursionError("maximum recursion depth exceeded")


def leave(path: Path) -> None:
    sys.exit(0)


def greedy(path: Path) -> None:
    bytearray(b"x" * (600 << 20))


@pytest.mark.parametrize(
    ("act", "why"), [(deep, "RecursionError"), (leave, "SystemExit: 0"), (greedy, r"it took \d+ MB")]
)
def test_fuzzing_finds_what_is_mishandled(tmp_path: Path, act: Any, why: str) -> None:
    with pytest.raises(MishandledError, match=why):
        check(Mishandling(act), tmp_path / "x", b"")
