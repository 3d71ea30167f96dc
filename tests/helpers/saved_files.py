"""Where the files of earlier versions are, and the programs that wrote them.

Import as `from helpers.saved_files import SAVED, program`. Each version's folder
has a `make.py` that says what is in it.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

SAVED = Path(__file__).parents[1] / "saved" / "0.1"
OWN = SAVED / keras.backend.backend()
"""What this backend wrote: checkpoints are bound to theirs."""

WRITERS = ("jax", "torch", "tensorflow")
"""Backends whose models, deltas and receipts there are; each is to be read on every backend."""

CONFIGS = ("run", "arrays", "images", "function")
"""The run configs."""


def _imported(name: str) -> ModuleType:
    """Import a module of the folder by its plain name, by which files know what is in it."""
    spec = importlib.util.spec_from_file_location(name, SAVED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


program: Any = _imported("saved_program")


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return dict(found)


def told(path: Path) -> Any:
    return json.loads(path.read_text())


def copied(source: Path, target: Path) -> Path:
    """A copy to work in, since runs change their folders."""
    return Path(shutil.copytree(source, target, dirs_exist_ok=True))


def require_same_bits(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """All arrays that a file was written with, and no others, bit by bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name, strict=True)


def require_close(found: Any, expected: Any, *, what: str = "") -> None:
    """Equal but for rounding, which depends on the machine."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=what)


def require_all_close(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        require_close(found[name], value, what=name)
