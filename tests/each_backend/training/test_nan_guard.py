"""A loss that is NaN or infinite stops the training, with the batch and the sample that did it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import NotFiniteError
from helpers.small_models import compiled, data_for, two_dense

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
ONLY_B = fl.Plan().train("b/**")
SAMPLES = 24


def spoilt(*bad: int, value: float = np.nan) -> tuple[np.ndarray, np.ndarray]:
    """Data in which these samples hold NaN."""
    x, y = data_for(two_dense())
    x, y = np.tile(x, (3, 1)), np.tile(y, (3, 1))
    x[list(bad), 1] = value
    return x, y


def stopped(model: keras.Model, x: Any, y: Any = None, **arguments: Any) -> NotFiniteError:
    settings: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0} | arguments
    with pytest.raises(NotFiniteError) as caught:
        fl.fit(model, settings.pop("plan", ONLY_B), x, y, **settings)
    return caught.value


def test_it_names_the_first_bad_batch_and_the_bad_samples() -> None:
    error = stopped(compiled(two_dense()), *spoilt(9, 17), epochs=3)
    assert str(error) == (
        "the loss of the model 'two_dense' is NaN or infinite after batch 3 of epoch 1, so training was "
        "stopped there.\n"
        "  received: x has NaN or infinity in 2 of 24 samples: 9, 17\n"
        "  expected: data without NaN and infinity\n"
        "  fix:      correct or leave out these samples; the weights are no longer usable: load the model "
        "again"
    )


def test_bad_targets_are_found_too() -> None:
    x, y = spoilt()
    y[23] = np.inf
    error = stopped(compiled(two_dense()), x, y)
    assert "after batch 6 of epoch 1" in error.what
    assert error.received == "y has NaN or infinity in 1 of 24 samples: 23"


def test_training_that_diverges_is_told_from_bad_data() -> None:
    model = compiled(two_dense(), keras.optimizers.SGD(1e20))
    error = stopped(model, *spoilt(), epochs=5)
    assert error.received == "data that are all finite"
    assert error.expected == "steps that do not diverge"
    assert str(error.remedy).startswith("lower the learning rate, or set clipnorm=1.0; ")


def test_data_that_cannot_be_searched_are_named() -> None:
    x, y = spoilt(5)

    def batches() -> Any:
        for first in range(0, SAMPLES, 4):
            yield x[first : first + 4], y[first : first + 4]

    error = stopped(compiled(two_dense()), batches(), batch_size=None)
    assert "after batch 2 of epoch 1" in error.what
    assert error.received == "data as generator, which cannot be searched"


def test_no_callback_saves_what_is_spoilt(tmp_path: Any) -> None:
    x, y = spoilt()
    model = compiled(two_dense())
    file = tmp_path / "last.weights.h5"
    saver = keras.callbacks.ModelCheckpoint(file, save_weights_only=True)
    fl.fit(model, ONLY_B, x, y, batch_size=4, verbose=0, callbacks=[saver])
    good = file.read_bytes()
    stopped(model, *spoilt(20), callbacks=[saver], validation_data=(x, y))
    assert file.read_bytes() == good


def test_a_run_that_can_be_resumed_ends_with_its_last_good_checkpoint(tmp_path: Any) -> None:
    x, y = spoilt()
    model, undisturbed = compiled(two_dense()), compiled(two_dense())
    settings: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0}
    fl.fit(undisturbed, ONLY_B, x, y, epochs=2, **settings)

    class Spoiling(keras.callbacks.Callback):
        """Spoils a weight before the third epoch."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.get_layer("b").bias.assign([np.nan, 0.0])

    error = stopped(model, x, y, epochs=4, callbacks=[Spoiling()], resume=tmp_path / "run")
    assert f"the model was restored from the checkpoint in '{tmp_path / 'run'}'" in str(error.remedy)
    assert fl.fingerprint(model).combined == fl.fingerprint(undisturbed).combined


def test_a_schedule_stops_in_the_phase_at_hand() -> None:
    schedule = fl.Schedule(ONLY_B, (fl.Phase("probe", epochs=2), fl.Phase("more", epochs=2)))
    model = compiled(two_dense())
    x, y = spoilt()
    ended: list[int] = []

    class Spoiling(keras.callbacks.Callback):
        """Spoils a weight before the third epoch."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.get_layer("b").bias.assign([np.nan, 0.0])

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            ended.append(epoch)

    error = stopped(model, x, y, plan=schedule, callbacks=[Spoiling()])
    assert "after batch 1 of epoch 3" in error.what
    assert ended == [0, 1]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on PyTorch")
def test_steps_run_together_are_named_together() -> None:
    model = two_dense()
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=3)
    assert "after one of the batches 4 to 6 of epoch 1" in stopped(model, *spoilt(15)).what


def test_whoever_wants_to_go_on_can() -> None:
    x, y = spoilt(3)
    run = fl.fit(
        compiled(two_dense()), ONLY_B, x, y, batch_size=4, epochs=2, verbose=0, stop_on_nan=False, guard=False
    )
    assert len(run.history.epoch) == 2


def test_overflow_is_left_to_loss_scaling() -> None:
    model = two_dense()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), "mse")
    x, y = spoilt()
    y[5] = np.float32(3e38)
    before = keras.ops.convert_to_numpy(model.get_layer("b").kernel).copy()
    run = fl.fit(model, ONLY_B, x, y, batch_size=4, verbose=0)
    assert not np.isfinite(run.history.history["loss"][0])
    after = keras.ops.convert_to_numpy(model.get_layer("b").kernel)
    assert np.isfinite(after).all()
    assert (before != after).any()
