"""What `model.fit` takes, a schedule takes: every kind of data, weights of samples, losses, callbacks.

`test_training.py` holds the arguments of `fit` under one plan against `model.fit`; here are schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline import Phase, Plan, Schedule
from frostline.errors import VerificationError
from helpers.checks import all_weights, changed, same_arrays, these_on_each, values, weights_in
from helpers.custom_step import custom_step
from helpers.small_models import compiled, square_layers, two_dense

BACKEND = keras.backend.backend()
SCHEDULE = Schedule(
    Plan().train("b/**"), (Phase("head", epochs=1), Phase("all", epochs=2, lr=0.5).train("**"))
)
RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 4)).astype("float32")
Y = RNG.normal(size=(12, 2)).astype("float32")
BATCHES = [(X[n : n + 4], Y[n : n + 4]) for n in range(0, 12, 4)]


def only_on(backend: str, why: str) -> None:
    if backend != BACKEND:
        pytest.skip(why)


# --- kinds of data ----------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """Three batches."""

    def __len__(self) -> int:
        return len(BATCHES)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return BATCHES[index]


def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        yield from BATCHES


def tf_data() -> Any:
    only_on("tensorflow", "tf.data would bring a second backend")
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


def data_loader() -> Any:
    only_on("torch", "a DataLoader would bring a second backend")
    import torch

    samples = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return torch.utils.data.DataLoader(samples, batch_size=4)


def grain_data() -> Any:
    grain = pytest.importorskip("grain", reason="Grain is not installed")
    return grain.MapDataset.source(list(zip(X, Y, strict=True))).batch(4)


FEEDS: dict[str, Callable[[], dict[str, Any]]] = {
    "tensors": lambda: {"x": ops.convert_to_tensor(X), "y": ops.convert_to_tensor(Y), "batch_size": 4},
    "py_dataset": lambda: {"x": Batches()},
    "py_dataset_workers": lambda: {"x": Batches(workers=2, max_queue_size=4)},
    "generator": lambda: {"x": endless(), "steps_per_epoch": 3},
    "tf_data": lambda: {"x": tf_data()},
    "data_loader": lambda: {"x": data_loader()},
    "grain": lambda: {"x": grain_data()},
    "grain_iterable": lambda: {"x": grain_data().to_iter_dataset()},
}
NOISE = (
    # Keras says so of every generator, and at the end of data whose length it does not know.
    "ignore:`shuffle=True` was passed, but will be ignored:UserWarning",
    "ignore:Your input ran out of data:UserWarning",
)


@pytest.mark.filterwarnings(*NOISE)
@pytest.mark.parametrize("name", these_on_each(FEEDS, ("tensors", "py_dataset", "tf_data", "grain")))
def test_every_kind_of_data_gives_the_numbers_of_arrays(name: str) -> None:
    given = FEEDS[name]()
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    run = fl.fit(model, SCHEDULE, shuffle=False, verbose=0, **given)
    assert run.history.history["phase"] == ["head", "all", "all"]
    # On TensorFlow Keras takes four batches of Grain's three, in plain `fit` too.
    odd = BACKEND == "tensorflow" and name.startswith("grain")
    assert int(model.optimizer.iterations) == (12 if odd else 9)
    assert [set(p.verification.of("trained")) for p in run.phases] == [
        weights_in(model, "b"),
        all_weights(model),
    ]
    if odd or name == "py_dataset_workers":
        return  # With workers Keras does not keep the order of batches, in plain `fit` either.
    for address, value in by_arrays().items():
        np.testing.assert_allclose(values(model)[address], value, rtol=1e-5, atol=1e-6)


@cache
def by_arrays() -> dict[str, np.ndarray]:
    """What the schedule comes to by arrays."""
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    fl.fit(model, SCHEDULE, X, Y, batch_size=4, shuffle=False, verbose=0)
    return values(model)


def nested_model(kind: type) -> keras.Model:
    """Two inputs, nested once more, and two outputs, as dicts or as lists."""
    keras.utils.set_random_seed(1)
    left, right = keras.Input((4,), name="left"), keras.Input((2,), name="right")
    both = layers.Concatenate(name="both")([left, right])
    hidden = layers.Dense(3, activation="tanh", name="a")(both)
    one, two = layers.Dense(2, name="one")(hidden), layers.Dense(1, name="two")(hidden)
    inputs: Any = {"left": left, "more": {"right": right}} if kind is dict else [left, [right]]
    return keras.Model(inputs, {"one": one, "two": two} if kind is dict else [one, two], name="nested")


@pytest.mark.parametrize("kind", [dict, list])
def test_nested_inputs_and_outputs(kind: type) -> None:
    model = nested_model(kind)
    losses: Any = {"one": "mse", "two": "mae"} if kind is dict else ["mse", "mae"]
    model.compile(keras.optimizers.Adam(0.05), losses)
    x: Any = {"left": X, "more": {"right": Y}} if kind is dict else [X, [Y]]
    y: Any = {"one": Y, "two": Y[:, :1]} if kind is dict else [Y, Y[:, :1]]
    schedule = Schedule(
        Plan().train("one/**"), (Phase("one", epochs=1), Phase("and two", epochs=1).train("two/**"))
    )
    run = fl.fit(model, schedule, x, y, batch_size=4, verbose=0, validation_data=(x, y))
    assert [set(p.verification.of("trained")) for p in run.phases] == [
        weights_in(model, "one"),
        weights_in(model, "one", "two"),
    ]
    assert len(run.history.history["val_loss"]) == 2
    # Each array of the nest is in the receipt, by its place.
    assert len(run.receipt.data) == 4
    assert all(digest.startswith("blake3:") for digest in run.receipt.data.values())


# --- weights of samples, validation -----------------------------------------------------------

LABELS = RNG.integers(0, 2, size=12)
WEIGHTS = RNG.uniform(0, 2, size=12).astype("float32")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "class_weight": {"class_weight": {0: 3.0, 1: 0.1}},
    "sample_weight": {"sample_weight": WEIGHTS},
    "validation_split": {"validation_split": 0.34},
    "validation_data": {"validation_data": (X, LABELS, WEIGHTS), "validation_freq": 2},
    "steps_per_epoch": {"steps_per_epoch": 2},
}


@pytest.mark.filterwarnings(*NOISE)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_fit_hold_in_every_phase(name: str) -> None:
    """As in a call of `fl.fit` for each."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    models = [compiled(two_dense(), keras.optimizers.Adam(0.05), loss) for _ in range(2)]
    common = {"batch_size": 4, "shuffle": False, "verbose": 0, **ARGUMENTS[name]}
    data = (X, LABELS)
    if name == "steps_per_epoch":
        # Else what one epoch leaves is the next one's, in one call and not in two.
        common["batch_size"] = 6
    run = fl.fit(models[0], SCHEDULE, *data, **common)
    for phase in SCHEDULE.phases:
        fl.fit(models[1], SCHEDULE.plan_of(phase), *data, epochs=phase.epochs, **common)
    for address, value in values(models[1]).items():
        np.testing.assert_allclose(values(models[0])[address], value, rtol=1e-5, atol=1e-6)
    if name.startswith("validation"):
        assert len(run.history.history["val_loss"]) == (1 if name == "validation_data" else 3)


# --- losses and steps of one's own ------------------------------------------------------------


@keras.saving.register_keras_serializable("frostline_tests")
class Penalized(layers.Layer):
    """Adds the mean square of what passes to the loss."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.5 * ops.mean(ops.square(inputs)))
        return inputs


def with_add_loss() -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,))
    hidden = Penalized(name="penalty")(layers.Dense(3, name="a")(inputs))
    return keras.Model(inputs, layers.Dense(2, name="b")(hidden), name="with_add_loss")


@keras.saving.register_keras_serializable("frostline_tests")
class OwnLoss(keras.Model):
    """Counts errors of the first output ten times, in a `compute_loss` of its own."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        error = ops.square(ops.cast(y, "float32") - y_pred)
        return ops.mean(error * ops.convert_to_tensor(np.array([10.0, 1.0], "float32")))


def with_own_loss() -> keras.Model:
    like = two_dense()
    return OwnLoss(like.inputs, like.outputs, name="own_loss")


MODELS = {"add_loss": with_add_loss, "compute_loss": with_own_loss, "train_step": custom_step}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.every_backend
def test_losses_and_steps_of_ones_own(name: str) -> None:
    """What they give by hand is what a schedule gives: first `b` alone, then all of it."""
    models = [compiled(MODELS[name](), keras.optimizers.SGD(0.05)) for _ in range(2)]
    arguments: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0}
    run = fl.fit(models[0], SCHEDULE, X, Y, **arguments)
    assert run.phases[0].verification.of("trained") == ("b/kernel", "b/bias")
    models[1].get_layer("a").trainable = False
    models[1].compile(keras.optimizers.SGD(0.05), "mse")
    models[1].fit(X, Y, **arguments)
    models[1].get_layer("a").trainable = True
    models[1].compile(keras.optimizers.SGD(0.025), "mse")
    models[1].fit(X, Y, epochs=2, **arguments)
    for address, value in values(models[1]).items():
        np.testing.assert_allclose(values(models[0])[address], value, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(BACKEND == "torch", reason="takes minutes; test_training.py compiles there")
@pytest.mark.every_backend
def test_a_schedule_with_jit_compile_and_without() -> None:
    model = two_dense()
    # "auto", by which the arrays were trained, compiles on JAX and does not on TensorFlow.
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=BACKEND == "tensorflow")
    fl.fit(model, SCHEDULE, X, Y, batch_size=4, shuffle=False, verbose=0)
    for address, value in by_arrays().items():
        np.testing.assert_allclose(values(model)[address], value, rtol=1e-4, atol=1e-5)


# --- callbacks at the end, and logs -----------------------------------------------------------


class Scores(keras.callbacks.Callback):
    """Reports a `score` of our making and keeps the values at the ends of epochs."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.scores = scores
        self.ends: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["score"] = self.scores[epoch]
        self.ends.append(values(self.model))


FOUR = Schedule(
    Plan(),
    (
        Phase("c", epochs=2).train("c/**"),
        Phase("b", epochs=3).train("b/**"),
        Phase("never", epochs=2).train("a/**"),
    ),
)
SQUARE = np.random.default_rng(4).normal(size=(8, 4)).astype("float32")


@pytest.mark.parametrize(("scores", "best"), [((3, 1, 2, 2, 2), 1), ((3, 2, 1, 2, 2), 2)])
@pytest.mark.parametrize("optimizer", ["adam", "ema"])
def test_early_stopping_restores_the_best_epoch_of_all(
    scores: Sequence[float], best: int, optimizer: str
) -> None:
    """Also one of an earlier phase; that is written down behind the last one, and holds as a receipt."""
    made = keras.optimizers.Adam(0.05, use_ema=optimizer == "ema", ema_momentum=0.5)
    model, seen = compiled(square_layers(), made), Scores(scores)
    before = fl.fingerprint(model)
    stop = keras.callbacks.EarlyStopping("score", mode="min", patience=2, restore_best_weights=True)
    run = fl.fit(model, FOUR, SQUARE, SQUARE, batch_size=4, shuffle=False, verbose=0, callbacks=[seen, stop])
    assert same_arrays(values(model).values(), seen.ends[best].values())
    assert [p.name for p in run.phases] == ["c", "b", "best weights restored"]
    restored = run.phases[-1]
    assert restored.epochs == 0
    expected = weights_in(model, "b", "c") if optimizer == "ema" else weights_in(model, "b")
    assert set(restored.verification.of("trained")) == expected or best == 2
    assert set(run.phases[1].verification.of("trained")) == weights_in(model, "b")
    assert set(run.phases[1].verification.of("intact")) == weights_in(model, "a", "c")
    assert run.not_run == ("never",)
    assert run.verification.ok
    assert set(run.receipt.trained) == weights_in(model, "b", "c")
    assert run.receipt.check(before=before, after=fl.fingerprint(model)) == []
    assert run.receipt.check_plan(model) == []


def test_a_schedule_that_ran_to_its_end_left_no_phase_out() -> None:
    model, seen = compiled(square_layers()), Scores([5, 4, 3, 2, 1, 0, -1])
    stop = keras.callbacks.EarlyStopping("score", mode="min", patience=1, restore_best_weights=True)
    run = fl.fit(model, FOUR, SQUARE, SQUARE, batch_size=4, verbose=0, callbacks=[seen, stop])
    assert [p.name for p in run.phases] == ["c", "b", "never"]
    assert run.not_run == ()


def test_a_callback_may_not_put_back_what_no_phase_trained() -> None:
    """Whatever it calls itself: only what some phase trained may go back."""

    class Careless(keras.callbacks.Callback):
        restore_best_weights = True

        def on_train_end(self, logs: Any = None) -> None:
            bias = self.model.get_layer("a").bias
            bias.assign(bias + 1)

    model = compiled(square_layers())
    schedule = Schedule(Plan(), FOUR.phases[:2])
    with pytest.raises(VerificationError, match="a/bias"):
        fl.fit(model, schedule, SQUARE, SQUARE, batch_size=4, verbose=0, callbacks=[Careless()])


def test_tensorboard_and_csv_across_phases(tmp_path: Path) -> None:
    """One log with an entry for each epoch."""
    callbacks: list[Any] = [keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))]
    board = BACKEND == "tensorflow"
    if board:  # Keras's TensorBoard imports TensorFlow whatever the backend.
        callbacks.append(keras.callbacks.TensorBoard(str(tmp_path / "board"), update_freq="epoch"))
    model = compiled(two_dense())
    before = values(model)
    run = fl.fit(model, SCHEDULE, X, Y, batch_size=4, verbose=0, callbacks=callbacks)
    assert changed(model, before) == all_weights(model)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,")
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2"]
    assert run.verification.ok
    if board:
        assert losses_on(tmp_path / "board" / "train") == [0, 1, 2]


def losses_on(folder: Path) -> list[int]:
    """The epochs for which TensorBoard's files hold a loss."""
    import tensorflow as tf

    (file,) = folder.glob("events*")
    found = []
    for record in tf.compat.v1.io.tf_record_iterator(str(file)):
        event = tf.compat.v1.Event.FromString(record)
        found += [event.step for value in event.summary.value if value.tag == "epoch_loss"]
    return found
