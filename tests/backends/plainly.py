"""Opens a saved model with Keras alone, in a process that never imports Frostline.

Import as `from backends.plainly import predicted_plainly`; the other process runs this very file.
"""

from __future__ import annotations

import json
import subprocess
import sys
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
    trainable: list[str]
    steps: int | None


def opened_plainly(path: Path, x: np.ndarray) -> Plain:
    """What Keras predicts; fails where it warns or raises."""
    arrays = path.with_suffix(".npz")
    np.savez(arrays, x=x)
    words = [sys.executable, __file__, str(path), str(arrays)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return Plain(np.load(path.with_suffix(".out.npy")), **told)


def _open(path: Path, arrays: Path) -> dict[str, Any]:
    import warnings

    import keras

    sys.path.insert(0, str(TESTS))
    from backends import small_models  # the custom layers  # noqa: F401

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="__array__ implementation")
    model = keras.models.load_model(path)
    np.save(path.with_suffix(".out.npy"), model.predict(np.load(arrays)["x"], verbose=0))
    assert not [name for name in sys.modules if name.partition(".")[0] == "frostline"]
    return {
        "compiled": bool(model.compiled),
        "trainable": [variable.path for variable in model.trainable_variables],
        "steps": int(model.optimizer.iterations) if model.compiled else None,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_open(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
