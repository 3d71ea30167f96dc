"""Opens saved models with Keras alone, in a process that never imports Frostline.

Import as `from helpers.plainly import opened_plainly`; the other process runs this very file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Plain:
    """What plain Keras made of a file."""

    outputs: np.ndarray
    compiled: bool
    steps: int | None


def opened_plainly(inputs: Mapping[Path, np.ndarray]) -> dict[Path, Plain]:
    """What Keras predicts from each of some files; fails where it warns or raises."""
    for path, x in inputs.items():
        np.save(path.with_suffix(".in.npy"), x)
    words = [sys.executable, __file__, *map(str, inputs)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return {
        path: Plain(np.load(path.with_suffix(".out.npy")), **about)
        for path, about in zip(inputs, told, strict=True)
    }


def _open(path: Path) -> dict[str, Any]:
    import keras

    model = keras.models.load_model(path)
    np.save(path.with_suffix(".out.npy"), model.predict(np.load(path.with_suffix(".in.npy")), verbose=0))
    steps = int(model.optimizer.iterations) if model.compiled else None
    return {"compiled": bool(model.compiled), "steps": steps}


def _main(paths: list[str]) -> None:
    import warnings

    sys.path.insert(0, str(TESTS))
    from helpers import small_models  # the custom layers  # noqa: F401

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="__array__ implementation")
    told = [_open(Path(path)) for path in paths]
    assert not [name for name in sys.modules if name.partition(".")[0] == "frostline"]
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
