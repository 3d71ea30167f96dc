"""Batches in an order that the seed and the epoch alone decide, in any process and on any backend."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from frostline.data.samples import Samples


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Samples as `model.fit` takes them.

    For images, which are read batch by batch; arrays go to `model.fit` as they are. The order of an epoch
    depends on the seed and on the number of the epoch only, so a run that was interrupted goes on without
    reading again what it has seen.

    Args:
        samples: The data.
        batch_size: Samples in a step; the last batch of an epoch may be smaller.
        seed: Of the order; None keeps that of the data, for validation.
    """

    order_by_epoch = True
    """Resuming need not read earlier epochs again: `EpochOrder` says which one comes."""

    def __init__(self, samples: Samples, batch_size: int, seed: int | None) -> None:
        super().__init__()
        self.samples = samples
        self._batch_size = batch_size
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0 over the whole run."""
        count = len(self.samples)
        if self._seed is None:
            self._order = np.arange(count)
        else:
            self._order = np.random.default_rng([self._seed, epoch]).permutation(count)

    def digest_of_content(self) -> str:
        """Return what stands for the data in a receipt."""
        return self.samples.digest

    def __len__(self) -> int:
        return math.ceil(len(self.samples) / self._batch_size)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        """Return a batch of the epoch."""
        return self.samples.take(self._order[number * self._batch_size : (number + 1) * self._batch_size])


class EpochOrder(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the data which epoch begins, also where a training goes on in the middle."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Draw the order."""
        self._batches.set_epoch(epoch)
