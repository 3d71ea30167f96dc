"""What every arm of `partial_rows.py` trains: a table of which the last rows are new, and the batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

LIMIT, OURS, BY_FIT, FROZEN = "split by hand", "fl.parametrize", "fl.fit with rows=", "all frozen"
GRADIENT_MASK, CONSTRAINT, FULL = "gradient mask", "constraint", "full training"
KERAS_PEERS = (GRADIENT_MASK, CONSTRAINT, FULL)

PEFT, HOOK, SPARSE_ADAM = "PEFT trainable tokens", "PyTorch: hook, Adam", "PyTorch: SparseAdam"
TORCH_FULL, TORCH_LIMIT = "PyTorch: full Adam", "PyTorch: split by hand"
TORCH_OURS = "PyTorch: fl.parametrize"
TORCH_FROZEN, PEFT_FROZEN = "PyTorch: all frozen", "PyTorch: all frozen, PEFT imported"
TORCH_PEERS = (TORCH_OURS, PEFT, HOOK, SPARSE_ADAM, TORCH_FULL, TORCH_LIMIT)

OPTAX_SPLIT, OPTAX_LABELS = "Optax: multi_transform, split table", "Optax: multi_transform, labels"
JAX_FROZEN = "JAX: all frozen"
JAX_PEERS = (OPTAX_SPLIT, OPTAX_LABELS)

DELTA, CHECKED = "save_delta, check=False", "save_delta, check=True"

READING, READING_HERE = "lookup alone, by NumPy", "lookup alone, by the backend"
"""No arms that train: what looking rows up takes by itself."""

NEW = 10

NOTES = {
    TORCH_OURS: "a parametrized Keras layer in the module and the loop of the peers",
    READING: "no training: `np.take` into the same memory each time",
    READING_HERE: "no training: `keras.ops.take`, compiled on JAX and TensorFlow",
    GRADIENT_MASK: "a `where` with `stop_gradient` over the table; Adam keeps slots for all of it",
    CONSTRAINT: "puts the old rows back after each step, from a copy",
    HOOK: "`register_hook` on the table; exact only without weight decay",
    SPARSE_ADAM: "trains all rows that are looked up, old ones too",
    OPTAX_SPLIT: "the old rows and the new ones are two leaves; the old ones get `set_to_zero`",
    OPTAX_LABELS: "labels reach leaves only: the table's own transform is Adam and a mask on its updates",
}


@dataclass(frozen=True, slots=True)
class Task:
    """Training of new rows.

    Attributes:
        rows: Of the table; the new ones come last.
        tied: Whether the table also projects onto the vocabulary, under cross-entropy of the ids themselves.
            Otherwise a fixed projection of the mean row is fitted to random numbers.
    """

    rows: int
    tied: bool = False
    width: int = 256
    new: int = NEW
    batch: int = 8
    length: int = 64

    @property
    def old(self) -> int:
        return self.rows - self.new

    @property
    def table_mb(self) -> float:
        return self.rows * self.width * 4 / 1e6

    def batches(self, steps: int) -> tuple[Any, Any]:
        """Return ids, every eighth of them new, and targets, for a number of steps."""
        rng = np.random.default_rng(0)
        x = rng.integers(0, self.rows, (self.batch * steps, self.length), dtype="int32")
        x[:, ::8] = rng.integers(self.old, self.rows, x[:, ::8].shape)
        return x, x if self.tied else rng.random((self.batch * steps, 1), dtype="float32")


class Arm(Protocol):
    """One way of training a task, ready to train.

    Attributes:
        peak_of_building: Peak memory of the process up to when the plain model was there, in MB.
    """

    peak_of_building: float

    def step_time(self, steps: int, epochs: int) -> float:
        """Train, and return the milliseconds of one step of the last epoch."""


def peak_mb() -> float:
    """Return the peak memory of this process in MB."""
    # Not getrusage: its maximum is handed down from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def forget_peak() -> float:
    """Return the peak so far, and count anew: filling a table takes more than the table, and hides a copy."""
    peak = peak_mb()
    Path("/proc/self/clear_refs").write_text("5")
    return peak
