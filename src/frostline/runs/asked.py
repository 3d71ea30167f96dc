"""What the command line asks about: a model and a batch, from a run config or from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline.errors import RunError
from frostline.plan import Plan
from frostline.resolution import Resolution
from frostline.runs.config import load_run
from frostline.runs.configdata import NpzData
from frostline.runs.npzfile import check_npz, load_npz
from frostline.runs.preparing import prepare
from frostline.runs.samples import Samples, Stream


@dataclass(frozen=True)
class Asked:
    """A model and a batch.

    Attributes:
        model: The model, compiled where it came so.
        batch: Inputs, targets and weights of samples.
        plan: The plan of the config, in a schedule the first phase's; None without a config.
    """

    model: Any
    batch: tuple[Any, Any, Any]
    plan: Plan | Resolution | None


def from_config(path: Path, samples: int) -> Asked:
    """Build what a config names, and take the first samples of its data.

    Raises:
        FrostlineError: As `frostline fit`.
    """
    prepared = prepare(load_run(path))
    return Asked(prepared.model, _batch(prepared.train, samples), prepared.resolutions[0])


def from_files(model: Any, data: Path | None, samples: int) -> Asked:
    """Take the first samples of a NumPy archive for a model.

    Raises:
        RunError: No data is named.
        DataError: It cannot be read.
    """
    if data is None:
        raise RunError(
            "a model alone says nothing of its gradients: they need data",
            expected="an archive with the arrays x and y, as np.savez('data.npz', x=x, y=y) writes it",
            remedy="add --data data.npz, or give a run config in place of the model",
        )
    source = NpzData(npz=str(data))
    check_npz(data, source)
    return Asked(model, _batch(load_npz(data, source), samples), None)


def _batch(train: Samples | Stream, samples: int) -> tuple[Any, Any, Any]:
    import keras

    if isinstance(train, Stream):
        found = next(iter(train.data))
    else:
        found = train.take(np.arange(min(samples, len(train))))
    x, y, weight = keras.utils.unpack_x_y_sample_weight(found)
    return x, y, weight
