"""Data of runs that go on: every source is read on from where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from frostline.errors import ResumeError
from helpers.checks import these_on_each
from helpers.interrupted_runs import (
    BATCH,
    SAMPLES,
    STEPS,
    Interrupt,
    Interrupted,
    data,
    fit_plan,
    plain_net,
    random_net,
    require_interruptible,
)
from helpers.small_models import SEED


class Shuffled(keras.utils.PyDataset):
    """Draws its order with a generator of its own, and noise with NumPy's."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rng = np.random.default_rng(SEED)
        self._order = np.arange(SAMPLES)

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        places = self._order[number * BATCH : (number + 1) * BATCH]
        x, y = data()
        return x[places] + self._rng.normal(scale=0.1, size=(BATCH, 4)).astype("float32"), y[places]

    def on_epoch_end(self) -> None:
        self._rng.shuffle(self._order)


def stream() -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Other batches without end."""
    rng = np.random.default_rng(SEED)
    while True:
        x = rng.normal(size=(BATCH, 4)).astype("float32")
        yield x, np.tanh(x)


def tf_dataset() -> Any:
    """Shuffled anew in each epoch."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(data()).shuffle(SAMPLES, seed=3).batch(BATCH)


def loader(**more: Any) -> Any:
    """Shuffled by PyTorch's own random state, unless more is said."""
    import torch

    samples = torch.utils.data.TensorDataset(*map(torch.from_numpy, data()))
    return torch.utils.data.DataLoader(samples, batch_size=BATCH, shuffle=True, **more)


def own_loader() -> Any:
    """The same by a generator of its own."""
    import torch

    return loader(generator=torch.Generator().manual_seed(5))


def grain_dataset() -> Any:
    """Shuffled by a seed, other in each epoch, and read as one stream."""
    grain = pytest.importorskip("grain", reason="Grain is not installed")
    samples = list(zip(*data(), strict=True))
    shuffled = grain.MapDataset.source(samples).seed(3).shuffle().repeat(4)
    return shuffled.to_iter_dataset().batch(BATCH)


SOURCES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "dataset": (lambda: (Shuffled(),), {"shuffle": False}),
    "shuffled_dataset": (lambda: (Shuffled(),), {"shuffle": True}),
    "arrays_in_part": (data, {"steps_per_epoch": 2, "batch_size": 2}),
    "arrays_in_order": (data, {"shuffle": False, "batch_size": BATCH}),
    "arrays_by_batch": (data, {"shuffle": "batch", "batch_size": BATCH}),
    "grain": (lambda: (grain_dataset(),), {"steps_per_epoch": STEPS, "shuffle": False}),
    "generator": (lambda: (stream(),), {"steps_per_epoch": 3, "shuffle": False}),
}


if keras.backend.backend() == "tensorflow":
    SOURCES["tf.data"] = (lambda: (tf_dataset(),), {"shuffle": False})
    SOURCES["tf.data_in_part"] = (lambda: (tf_dataset().repeat(),), {"steps_per_epoch": 2, "shuffle": False})


if keras.backend.backend() == "torch":
    SOURCES["loader"] = (lambda: (loader(),), {"shuffle": False})
    SOURCES["own_loader"] = (lambda: (own_loader(),), {"shuffle": False})


@pytest.mark.parametrize(
    "name", these_on_each(SOURCES, ("shuffled_dataset", "grain", "tf.data", "generator"))
)
def test_every_source_of_data_goes_on_where_it_was(tmp_path: Path, name: str) -> None:
    source, arguments = SOURCES[name]
    validation = data()
    fit = partial(fit_plan, make=plain_net, source=source, validation_data=validation, **arguments)
    run = require_interruptible(fit, tmp_path, [(1, "middle"), (3, "begin")])
    assert run.resumed == 3
    assert len(run.history.history["val_loss"]) == 4


def test_data_is_read_again_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Callbacks hear of the epochs that count, metrics of the batches that train, the bar of all steps."""
    heard: list[int] = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: heard.append(epoch))
    common: dict[str, Any] = {
        "make": lambda: random_net(metrics=["mae"]),
        "source": lambda: (Shuffled(),),
        "validation_data": data(),
    }
    with pytest.raises(Interrupted):
        fit_plan(tmp_path, [Interrupt(2, "begin")], **common)
    capsys.readouterr()
    model, run = fit_plan(tmp_path, [], callbacks=lambda: [note], **common | {"verbose": 2})
    assert heard == [2, 3]
    assert set(run.history.history) == {"loss", "mae", "val_loss", "val_mae"}
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "Epoch" in line] == ["Epoch 3/4", "Epoch 4/4"]
    assert said.count("3/3") == 2
    assert "get_metrics_result" not in vars(model)


def test_a_generator_that_was_read_from(tmp_path: Path) -> None:
    used = stream()
    next(used)
    with pytest.raises(ResumeError) as caught:
        fit_plan(tmp_path, [], source=lambda: (used,), steps_per_epoch=2)
    assert str(caught.value) == (
        "the generator was read from before, so a run on it cannot be repeated.\n"
        "  expected: a generator at its beginning\n"
        "  fix:      make a new one for each call of fit, or give arrays or a keras.utils.PyDataset"
    )
