"""The order in which `fit` takes the samples of arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

SAMPLES = 12


def orders(initial: int = 0, *, epochs: int = 3, seed: int = 0, renewed: bool = False) -> Any:
    """Return the samples of each epoch, in order.

    Args:
        initial: The first epoch.
        epochs: The last, as `fit` takes it.
        seed: Set before `fit`.
        renewed: Whether another one is set as an epoch begins, as a resumed run sets its random state.
    """
    seen: list[list[int]] = []
    on_jax = keras.backend.backend() == "jax"

    class Seeded(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if renewed:
                keras.utils.set_random_seed(seed + epoch)
            seen.append([])

    class Looked(keras.Model):
        def call(self, x: Any) -> Any:
            return x * self.one

        def train_step(self, *arguments: Any) -> Any:
            taken = keras.ops.convert_to_numpy(arguments[-1][0])
            seen[-1].extend(int(number) for number in np.ravel(taken))
            logs = {"loss": keras.ops.zeros(())}
            return (logs, arguments[0]) if on_jax else logs

    model = Looked()
    model.one = model.add_weight(shape=(), initializer="ones")
    model.compile("sgd", "mse", run_eagerly=True)
    x = np.arange(SAMPLES, dtype="float32")[:, None]
    keras.utils.set_random_seed(seed)
    model.fit(x, x, batch_size=4, initial_epoch=initial, epochs=epochs, verbose=0, callbacks=[Seeded()])
    return seen
