"""Data as training takes it: samples that can be picked by number, or a stream that comes as it comes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.errors import DataError

_SPLIT = 2**32
"""Not an epoch's number, so the split has an order of its own."""


@dataclass(frozen=True)
class Samples:
    """Samples that can be picked by number.

    Attributes:
        x: Arrays of shape `(samples, ...)`, alone or in a list or a mapping by input.
        y: The targets, likewise; None where there are none.
        weight: The weight of each sample in the loss, of shape `(samples,)`.
        classes: The label behind each number in `y`; empty where `y` holds no labels.
        source: Names the data in messages.
        digest: Of the files, where the samples are read from them batch by batch.
        rows: What each sample is in its source: the line of a table, the file of an image; None where it is
            its number.
        row_noun: What an entry of `rows` is.
        about: What was assumed in reading them, a sentence each, for the output of a run.
    """

    x: Any
    y: Any = None
    weight: Any = None
    classes: tuple[str, ...] = ()
    source: str = "the data"
    digest: str = ""
    rows: Any = None
    row_noun: str = "sample"
    about: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(leaves(self.x)[0][1])

    def take(self, chosen: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        """Return a batch `(x, y)` or `(x, y, weight)` of the samples with these numbers."""
        parts = [mapped(self.x, lambda v: v[chosen])]
        if self.y is not None:
            parts.append(mapped(self.y, lambda v: v[chosen]))
        if self.weight is not None:
            parts.append(self.weight[chosen])
        return tuple(parts)

    def only(self, chosen: npt.NDArray[np.int64]) -> Samples:
        """Return the samples with these numbers as samples of their own."""
        rows = np.arange(len(self)) if self.rows is None else self.rows
        return replace(
            self,
            x=mapped(self.x, lambda v: v[chosen] if isinstance(v, np.ndarray) else v.only(chosen)),
            y=None if self.y is None else mapped(self.y, lambda v: v[chosen]),
            weight=None if self.weight is None else self.weight[chosen],
            rows=rows[chosen],
        )

    def split(self, fraction: float, seed: int) -> tuple[Samples, Samples]:
        """Hold out a fraction, drawn by chance: files are often sorted by class.

        Args:
            fraction: Between 0 and 1; at least one sample stays on each side.
            seed: The same seed draws the same samples, in any process.

        Raises:
            DataError: There are fewer than two samples.
        """
        if len(self) < 2:
            raise DataError(
                f"{self.source} has too few samples to hold some out for validation",
                received=f"{len(self)} in all",
                expected="at least 2",
            )
        held_out = min(max(round(len(self) * fraction), 1), len(self) - 1)
        order = np.random.default_rng([seed, _SPLIT]).permutation(len(self))
        return self.only(np.sort(order[held_out:])), self.only(np.sort(order[:held_out]))


@dataclass(frozen=True)
class Stream:
    """Data that comes in batches of its own: a `tf.data.Dataset`, a `PyDataset`, a `DataLoader`, and so on.

    Attributes:
        data: As `model.fit` takes it for `x`.
        source: Names the data in messages.
    """

    data: Any
    source: str


def leaves(tree: Any) -> list[tuple[str, Any]]:
    """Return what stands in a list or mapping with its name; what stands alone has the name ''."""
    if isinstance(tree, dict):
        return list(tree.items())
    if isinstance(tree, list | tuple):
        return [(str(number), value) for number, value in enumerate(tree)]
    return [("", tree)]


def mapped(tree: Any, function: Any) -> Any:
    """Return a list or mapping of the same form with `function` of each of its values."""
    if isinstance(tree, dict):
        return {name: function(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [function(value) for value in tree]
    return function(tree)


def require_samples(samples: Samples) -> Samples:
    """Return samples as they are, or raise `DataError` where there are none or the arrays do not fit."""
    named = [
        (f"{part} {name!r}" if name else part, value)
        for part, tree in (("x", samples.x), ("y", samples.y), ("sample_weight", samples.weight))
        if tree is not None
        for name, value in leaves(tree)
    ]
    for name, value in named:
        if not getattr(value, "shape", ()):
            raise DataError(
                f"{name} of {samples.source} holds a single value",
                expected="an array with one entry per sample along its first axis",
            )
        if getattr(value, "dtype", None) is not None and value.dtype.kind not in "biuf":
            raise DataError(
                f"{name} of {samples.source} holds no numbers", received=f"an array of {value.dtype}"
            )
    lengths = {name: len(value) for name, value in named}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"the arrays of {samples.source} have different numbers of samples",
            received=", ".join(f"{name} has {length:,}" for name, length in lengths.items()),
        )
    if not len(samples):
        raise DataError(f"{samples.source} has no samples")
    return samples


def one_hot(labels: npt.NDArray[Any], classes: int) -> npt.NDArray[np.float32]:
    """Return labels of shape `(samples,)` as rows of zeros with a single 1."""
    rows: npt.NDArray[np.float32] = np.eye(classes, dtype="float32")[labels]
    return rows
