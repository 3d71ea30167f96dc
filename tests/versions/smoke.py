"""Uses everything that is public at least once, on the backend that Keras runs on.

    KERAS_BACKEND=jax python tests/versions/smoke.py [--out result.json]

Needs Frostline, Keras and a backend, nothing else; it says what was tried, and fails where a public name or a
verb of the command line was left out. `try_versions.py` runs it with one version of Keras after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import frostline  # before keras, which then runs on the backend that is installed

# isort: split
import keras
import numpy as np
import public
import recurrent
import silent
import verbs
from used import STEPS

MODULES = (public, silent, recurrent, verbs)  # importing them has made the steps


def main(out: Path | None, only: str) -> int:
    """Run the steps, each in a folder of its own; return how many failed."""
    began = time.monotonic()
    results = {name: _tried(name, function) for name, function in STEPS.items() if only in name}
    left_out = [*public.fl.left_out(), *verbs.left_out()]
    results["everything public is used"] = f"not used: {', '.join(left_out)}" if left_out else "ok"
    about = {**versions(), "steps": results, "seconds": round(time.monotonic() - began)}
    if out is not None:
        out.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    failed = {name: said for name, said in results.items() if said not in ("ok", "not for this backend")}
    for name, said in failed.items():
        print(f"FAILED {name}: {said}")
    passed = len(results) - len(failed)
    print(f"{passed} of {len(results)} steps passed in {about['seconds']} s: {_named(about)}")
    return len(failed)


def versions() -> dict[str, str]:
    """What the smoke runs on."""
    backend = keras.backend.backend()
    module = sys.modules[backend]
    return {
        "backend": backend,
        backend: str(module.__version__).partition("+")[0],
        "keras": keras.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "frostline": frostline.__version__,
    }


def _named(about: dict[str, Any]) -> str:
    return ", ".join(f"{name} {about[name]}" for name in ("frostline", "keras", about["backend"], "python"))


def _tried(name: str, function: Any) -> str:
    """Run one step; return `ok`, or what it ended in."""
    before = Path.cwd()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        try:
            made = function()
            public.fl.note(made)
            said = "not for this backend" if made is None else "ok"
        except (Exception, SystemExit) as error:
            if "SMOKE_TRACE" in os.environ:
                traceback.print_exc()
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        finally:
            os.chdir(before)
    if "SMOKE_TRACE" in os.environ:
        print(f"{time.monotonic() - began:6.1f} s  {name}: {said}", flush=True)
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="part of the names of steps")
    given = parser.parse_args()
    # Absolute, since each step stands in a folder of its own.
    sys.exit(1 if main(given.out.resolve() if given.out else None, given.only) else 0)
