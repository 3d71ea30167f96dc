"""Runs that are interrupted and go on: they end with the bits of undisturbed ones."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from backends.small_models import SEED, square_layers
from frostline import Phase, Plan, Plateau, Schedule
from frostline.errors import FrostlineError, NotFiniteError, ResumeError
from frostline.parametrization.adapters import LowRank
from frostline.parametrization.selections import Rows
from frostline.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_compilation")

SAMPLES, BATCH, STEPS = 12, 4, 3
EAGER = keras.backend.backend() != "torch"
"""Compiling takes longer than a few steps do; real kills happen to compiled models."""
BRANCHES = keras.backend.backend() == "tensorflow"
"""The same for optimizers that branch, which JAX compiles anew at every step that is not compiled."""
HEAD = Plan().train("c/**")


def data() -> tuple[np.ndarray, np.ndarray]:
    """Samples for four numbers to four, the same at every call."""
    rng = np.random.default_rng(SEED)
    return tuple(rng.normal(size=(SAMPLES, 4)).astype("float32") for _ in range(2))  # type: ignore[return-value]


def random_net(optimizer: Any = None, *, eager: bool = EAGER, **more: Any) -> keras.Model:
    """Dense `a`, BatchNormalization `bn`, Dropout `drop`, Dense `b`, Dense `c`, compiled."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((4,))
    value = keras.layers.BatchNormalization(name="bn")(keras.layers.Dense(6, name="a")(inputs))
    value = keras.layers.Dense(6, name="b")(keras.layers.Dropout(0.3, name="drop")(value))
    model = keras.Model(inputs, keras.layers.Dense(4, name="c")(value), name="net")
    optimizer = optimizer or keras.optimizers.AdamW(0.02, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, "mse", run_eagerly=eager, **more)
    return model


def plain_net(optimizer: Any = None) -> keras.Model:
    """`square_layers`, compiled."""
    model = square_layers()
    model.compile(optimizer or keras.optimizers.Adam(0.02), "mse", run_eagerly=EAGER)
    return model


class Interrupted(Exception):  # noqa: N818
    """Stands for whatever kills a run."""


class Interrupt(keras.callbacks.Callback):
    """Raises at one moment of one epoch: at its `begin`, in its `middle`, or at its `end`.

    At its end is before its checkpoint is written, at the beginning of the next one is after that.
    """

    def __init__(self, epoch: int, moment: str) -> None:
        super().__init__()
        self._at = (epoch, moment)
        self._epoch = -1

    def _look(self, moment: str) -> None:
        if (self._epoch, moment) == self._at:
            raise Interrupted

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._look("begin")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch >= 1:
            self._look("middle")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._look("end")

    def on_train_end(self, logs: Any = None) -> None:
        self._look("train end")


def state_of(model: keras.Model) -> list[bytes]:
    """The bits of every variable of a model and its optimizer."""
    every = (*model.variables, *model.optimizer.variables)
    return [np.asarray(keras.ops.convert_to_numpy(variable)).tobytes() for variable in every]


def require_interruptible(
    fit: Callable[..., tuple[keras.Model, fl.Run]], folder: Path, moments: Iterable[tuple[int, str]]
) -> fl.Run:
    """A run that is interrupted at one moment after the other ends as one that never is.

    `fit` makes everything anew, as a new process does, and takes `resume` and `interrupt`.
    """
    whole, expected = fit(resume=None, interrupt=[])
    for moment in moments:
        # So that nothing is right by chance.
        keras.utils.set_random_seed(999)
        with pytest.raises(Interrupted):
            fit(resume=folder, interrupt=[Interrupt(*moment)])
    model, run = fit(resume=folder, interrupt=[])
    assert state_of(model) == state_of(whole)
    assert run.history.epoch == expected.history.epoch
    assert run.history.history == expected.history.history
    assert [(p.name, p.epochs, p.verification) for p in run.phases] == [
        (p.name, p.epochs, p.verification) for p in expected.phases
    ]
    assert run.verification == expected.verification
    if run.receipt is not None:
        one, other = (r.receipt.to_data() for r in (run, expected))
        for told in (one, other):
            told |= {"started": "", "seconds": 0, "blake3": ""}
            for fingerprint in (told["after"], *(phase["after"] for phase in told["phases"])):
                # Metrics of an epoch that ended in another process.
                for address in [a for a, digest in fingerprint.items() if digest["role"] == "metric"]:
                    del fingerprint[address]
        assert one == other
        assert run.receipt.check(after=fl.fingerprint(model)) == []
    return run


def every_moment(epochs: int) -> list[tuple[int, str]]:
    """Each moment of each epoch, and the end of the training."""
    moments = [(epoch, moment) for epoch in range(epochs) for moment in ("begin", "middle", "end")]
    return [*moments, (epochs - 1, "train end")]


def some_moments(epochs: int) -> list[tuple[int, str]]:
    """One moment of each epoch, another each time."""
    return [(epoch, ("middle", "end", "begin")[epoch % 3]) for epoch in range(epochs)]


# --- what a run's future depends on -----------------------------------------------------------

PHASES = (
    Phase("head", epochs=2),
    Phase("middle", steps=4, lr=0.5).train("b/**").train("bn/**").freeze("c/bias"),
    Phase("all", epochs=2).train("**"),
)
"""Six epochs; the last two steps of the fourth belong to `all`."""


def test_frostline_goes_on_from_every_moment(tmp_path: Path) -> None:
    """Dropout, shuffling, averages, late joiners, parked slots, a reduced rate, and a late best epoch."""

    def fit(resume: Path | None, interrupt: list[Any]) -> tuple[keras.Model, fl.Run]:
        model = random_net()
        callbacks = [
            keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=1.0),
            keras.callbacks.EarlyStopping("loss", patience=9),
            *interrupt,
        ]
        run = fl.fit(
            model,
            Schedule(HEAD, PHASES),
            *data(),
            batch_size=BATCH,
            verbose=0,
            callbacks=callbacks,
            resume=resume,
        )
        return model, run

    run = require_interruptible(fit, tmp_path, every_moment(6))
    assert (
        run.history.history["phase"]
        == ["head", "head", "middle", "all", "all", "all"][: len(run.history.epoch)]
    )
    assert len(set(run.history.history["learning_rate"])) > 2


def fit_plan(
    resume: Path | None,
    interrupt: list[Any],
    *,
    make: Callable[[], keras.Model] = random_net,
    plan: Any = None,
    callbacks: Callable[[], list[Any]] = list,
    source: Callable[[], tuple[Any, ...]] = data,
    **arguments: Any,
) -> tuple[keras.Model, fl.Run]:
    """Everything made anew, and a fit of four epochs."""
    model, plan = make(), plan or Plan().train("b/**").train("c/**", lr=0.5)
    common = {"verbose": 0, "callbacks": [*callbacks(), *interrupt], "resume": resume}
    if source is data:
        common["batch_size"] = BATCH
    if not isinstance(plan, Schedule):
        common["epochs"] = 4
    return model, fl.fit(model, plan, *source(), **common | arguments)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "accumulation": lambda: keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2),
    "nadam": lambda: keras.optimizers.Nadam(0.02, clipnorm=0.5),
    "schedule": lambda: keras.optimizers.RMSprop(keras.optimizers.schedules.CosineDecay(0.1, 9)),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.02), initial_scale=4.0, dynamic_growth_steps=2
    ),
    "adafactor": lambda: keras.optimizers.Adafactor(0.02),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_part_of_an_optimizer_comes_back(tmp_path: Path, make: Callable[[], Any]) -> None:
    """In the middle of an accumulation too: two epochs of three steps each take part in it."""
    phases = (Phase("head", epochs=2), Phase("back", epochs=1).train("b/**"))
    fit = partial(fit_plan, make=lambda: random_net(make(), eager=BRANCHES), plan=Schedule(HEAD, phases))
    require_interruptible(fit, tmp_path, [(1, "middle"), (2, "middle")])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_other_precisions(tmp_path: Path, policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        make = partial(random_net, eager=BRANCHES)
        require_interruptible(partial(fit_plan, make=make), tmp_path, [(2, "middle")])
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has one step a call there")
@pytest.mark.parametrize("per_call", [2, 3])
def test_several_steps_in_one_call(tmp_path: Path, per_call: int) -> None:
    fit = partial(fit_plan, make=lambda: random_net(eager=False, steps_per_execution=per_call))
    require_interruptible(fit, tmp_path, [(1, "end"), (2, "begin")])


def test_a_plateau_and_its_best_weights(tmp_path: Path) -> None:
    """What was best, and for how long nothing was better, is part of where a run stands."""

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = (3, 1, 2, 2, 7, 5, 6, 6)[epoch]

    until = Plateau("score", patience=2)
    phases = (
        Phase("first", epochs=9, until=until, restore_best=True),
        Phase("last", epochs=9, until=until, restore_best=True).train("**"),
    )
    fit = partial(fit_plan, make=plain_net, plan=Schedule(HEAD, phases), callbacks=lambda: [Scores()])
    run = require_interruptible(fit, tmp_path, [*some_moments(8), (7, "train end")])
    assert run.history.history["phase"] == ["first"] * 4 + ["last"] * 4


def test_weights_that_train_in_part(tmp_path: Path) -> None:
    """Of a parametrized weight a checkpoint holds what trains; its base must be what it was."""

    def make(shift: float = 0.0) -> keras.Model:
        model = plain_net(keras.optimizers.AdamW(0.02))
        model.get_layer("c").kernel.assign(model.get_layer("c").kernel + shift)
        fl.parametrize(model, "b/kernel", LowRank(2))
        fl.parametrize(model, "c/kernel", Rows(slice(0, 2)))
        return model

    fit = partial(fit_plan, plan=Schedule(HEAD, PHASES[::2]))
    require_interruptible(partial(fit, make=make), tmp_path / "run", [(1, "middle"), (3, "begin")])
    with pytest.raises(Interrupted):
        fit(tmp_path / "other", [Interrupt(1, "begin")], make=make)
    found = checkpoint.latest(tmp_path / "other")
    assert found is not None
    held = {name for name in found.arrays if name.startswith("model/c")}
    assert held == {"model/c/kernel:rows", "model/c/bias"}
    with pytest.raises(ResumeError, match="other values of frozen weights: c/kernel\n"):
        fit(tmp_path / "other", [], make=lambda: make(1.0))


def test_without_a_guard(tmp_path: Path) -> None:
    fit = partial(fit_plan, make=plain_net, plan=Schedule(HEAD, PHASES[::2]), guard=False)
    assert require_interruptible(fit, tmp_path, some_moments(4)).receipt is None


def test_weights_that_nobody_seeded(tmp_path: Path) -> None:
    """A run killed in its first epoch too begins with the weights and the order it had begun with."""
    runs = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="c")], name="net")
        model.compile("sgd", "mse")
        interrupt = [Interrupt(0, "end")] if seed == 1 else []
        try:
            runs.append(
                fl.fit(model, HEAD, *data(), batch_size=4, verbose=0, callbacks=interrupt, resume=tmp_path)
            )
        except Interrupted:
            assert seed == 1
    assert [run.resumed for run in runs] == [0]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="c")], name="net")
    model.compile("sgd", "mse")
    alone = fl.fit(model, HEAD, *data(), batch_size=4, verbose=0)
    assert alone.receipt.before == runs[0].receipt.before
    assert alone.receipt.after.combined == runs[0].receipt.after.combined


def test_a_notebook_cell_that_was_interrupted(tmp_path: Path) -> None:
    """The same model, half trained and with a changed rate, is given again."""
    model = random_net(eager=False)
    reduce = [keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=1.0)]
    plan, common = Schedule(HEAD, PHASES[::2]), {"batch_size": BATCH, "verbose": 0, "resume": tmp_path}
    for moment in ((1, "middle"), (2, "end"), (3, "middle")):
        with pytest.raises(Interrupted):
            fl.fit(model, plan, *data(), callbacks=[*reduce, Interrupt(*moment)], **common)
    fl.fit(model, plan, *data(), callbacks=reduce, **common)
    other = random_net(eager=False)
    fl.fit(other, plan, *data(), callbacks=reduce, **common | {"resume": None})
    assert state_of(model) == state_of(other)


# --- callbacks --------------------------------------------------------------------------------


class Counter(keras.callbacks.Callback):
    """Counts epochs, and lowers the rate by its count."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1
        logs["count"] = self.epochs
        self.model.optimizer.learning_rate = 0.1 / self.epochs

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


def test_callbacks_with_a_state_of_their_own(tmp_path: Path) -> None:
    run = require_interruptible(partial(fit_plan, callbacks=lambda: [Counter()]), tmp_path, some_moments(4))
    assert run.history.history["count"] == [1, 2, 3, 4]


def test_early_stopping_counts_on_and_restores_its_best(tmp_path: Path) -> None:
    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = (3, 1, 2, 4, 5, 0)[epoch]

    def callbacks() -> list[Any]:
        stop = keras.callbacks.EarlyStopping("score", mode="min", patience=3, restore_best_weights=True)
        return [Scores(), stop]

    fit = partial(fit_plan, epochs=6, callbacks=callbacks)
    run = require_interruptible(fit, tmp_path, [*some_moments(5), (4, "train end")])
    assert run.history.epoch == [0, 1, 2, 3, 4]


def test_a_best_epoch_in_an_earlier_phase(tmp_path: Path) -> None:
    """What was put back behind the last phase is in the books of a finished run, too."""

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = (3, 1, 2, 4)[epoch]

    def callbacks() -> list[Any]:
        return [Scores(), keras.callbacks.EarlyStopping("score", mode="min", restore_best_weights=True)]

    phases = (*PHASES[::2], Phase("never", epochs=1))
    fit = partial(fit_plan, make=plain_net, plan=Schedule(HEAD, phases), callbacks=callbacks)
    run = require_interruptible(fit, tmp_path, [(1, "middle"), (2, "begin")])
    assert [p.name for p in run.phases] == ["head", "all", "best weights restored"]
    with pytest.warns(UserWarning, match="is finished"):
        _, again = fit(resume=tmp_path, interrupt=[])
    assert again.phases == run.phases
    assert again.receipt.to_data() == run.receipt.to_data()


def test_files_of_callbacks_go_on(tmp_path: Path) -> None:
    """A log keeps its rows, and the best checkpoint of Keras's own is only replaced by a better one."""
    log, best = tmp_path / "log.csv", tmp_path / "best.weights.h5"
    loggers: list[Any] = []

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = (1, 3, 2, 4)[epoch]

    def callbacks() -> list[Any]:
        save = keras.callbacks.ModelCheckpoint(
            str(best), monitor="score", mode="min", save_best_only=True, save_weights_only=True
        )
        loggers.append(keras.callbacks.CSVLogger(str(log)))
        return [Scores(), loggers[-1], save]

    for moment in ((1, "begin"), (2, "begin")):
        with pytest.raises(Interrupted):
            fit_plan(tmp_path / "run", [Interrupt(*moment)], callbacks=callbacks)
        loggers[-1].csv_file.close()
        written = best.stat().st_mtime_ns
    fit_plan(tmp_path / "run", [], callbacks=callbacks)
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == list("0123")
    assert best.stat().st_mtime_ns == written


def test_a_callback_that_is_new_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit_plan(tmp_path, [Interrupt(2, "begin")])
    _, run = fit_plan(tmp_path, [], callbacks=lambda: [Counter()])
    assert run.resumed == 2
    assert run.history.history["count"] == [1, 2]


def test_frostline_refuses_a_second_way_of_resuming(tmp_path: Path) -> None:
    with pytest.raises(ResumeError) as caught:
        fit_plan(tmp_path / "run", [keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    assert str(caught.value) == (
        "BackupAndRestore and resume would each go on with the training in a way of its own.\n"
        "  received: a BackupAndRestore among the callbacks\n"
        "  to mend:  leave it out: resume does what it does, and restores the rest of a run as well"
    )


# --- sources of data --------------------------------------------------------------------------


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


@pytest.mark.parametrize(("source", "arguments"), SOURCES.values(), ids=SOURCES)
def test_every_source_of_data_goes_on_where_it_was(
    tmp_path: Path, source: Callable[[], Any], arguments: dict[str, Any]
) -> None:
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
        "  to mend:  make it anew for each call of fit, or give arrays or a keras.utils.PyDataset"
    )


# --- the folder -------------------------------------------------------------------------------


def ours(caught: Iterable[Any]) -> list[Any]:
    """The warnings that are not Keras's about NumPy."""
    return [one for one in caught if "__array__" not in str(one.message)]


def interrupted(folder: Path, epoch: int = 3) -> None:
    """A folder with the checkpoints of a run that died at the beginning of an epoch."""
    with pytest.raises(Interrupted):
        fit_plan(folder, [Interrupt(epoch, "begin")], make=plain_net)


def test_a_damaged_checkpoint_is_discarded_for_the_one_before(tmp_path: Path) -> None:
    interrupted(tmp_path)
    path = tmp_path / "epoch-000003" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"epoch-000003' is discarded: arrays.safetensors is not what"):
        model, run = fit_plan(tmp_path, [], make=plain_net)
    assert run.resumed == 2
    assert state_of(model) == state_of(fit_plan(None, [], make=plain_net)[0])


def test_a_run_begins_anew_where_no_checkpoint_can_be_read(tmp_path: Path) -> None:
    interrupted(tmp_path)
    for path in tmp_path.glob("epoch-*/state.json"):
        path.unlink()
    with pytest.warns(UserWarning, match="is discarded") as caught:
        model, run = fit_plan(tmp_path, [], make=plain_net)
    assert len(ours(caught)) == 2
    assert run.resumed is None
    assert state_of(model) == state_of(fit_plan(None, [], make=plain_net)[0])


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    plan = Schedule(HEAD, PHASES[::2])
    first, run = fit_plan(tmp_path, [], make=plain_net, plan=plan)
    drawn = np.random.random()
    with pytest.warns(UserWarning) as caught:
        again, same = fit_plan(tmp_path, [Interrupt(0, "begin")], make=plain_net, plan=plan)
    assert [str(w.message) for w in ours(caught)] == [
        f"the run in {str(tmp_path)!r} is finished: its end was put on the model, and nothing was trained; "
        "name another folder to train again"
    ]
    assert ours(caught)[0].filename == __file__
    assert np.random.random() == drawn
    assert state_of(again) == state_of(first)
    assert same.receipt.to_data() == run.receipt.to_data()
    assert same.history.history == run.history.history
    assert same.history.epoch == run.history.epoch
    assert again.history is same.history
    assert same.phases == run.phases
    assert (run.resumed, same.resumed) == (None, 4)


def test_a_finished_run_whose_end_is_damaged_ends_again(tmp_path: Path) -> None:
    first, run = fit_plan(tmp_path, [])
    (tmp_path / "finished" / "state.json").write_text("{")
    with pytest.warns(UserWarning, match=r"finished' is discarded: state.json is not whole"):
        again, same = fit_plan(tmp_path, [Interrupt(3, "begin")])
    assert state_of(again) == state_of(first)
    assert same.receipt.after.combined == run.receipt.after.combined


def test_a_disk_that_is_full_for_a_while_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    fill = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: monkeypatch.setattr(os, "fsync", full) if epoch == 1 else None,
        on_epoch_begin=lambda epoch, logs: monkeypatch.undo(),
    )
    with pytest.warns(UserWarning) as caught:
        fit_plan(tmp_path, [], make=plain_net, callbacks=lambda: [fill])
    said = [str(one.message) for one in ours(caught)]
    assert len(said) == 1
    assert said[0].startswith(f"cannot write '{tmp_path}")
    assert said[0].endswith(
        ": No space left on device; the training goes on, and the checkpoint before stays"
    )
    assert sorted(p.name for p in tmp_path.glob("[a-z]*")) == ["epoch-000004", "finished"]


def test_a_folder_in_use(tmp_path: Path) -> None:
    with checkpoint.held(tmp_path), pytest.raises(ResumeError, match="is in use by another run"):
        fit_plan(tmp_path, [])


# --- runs that are not this one ---------------------------------------------------------------


def bigger() -> keras.Model:
    """`square_layers` with one more layer."""
    model = keras.Sequential([square_layers(), keras.layers.Dense(4, name="d")], name="bigger")
    model.compile(keras.optimizers.Adam(0.02), "mse")
    return model


def shifted() -> keras.Model:
    """`square_layers` with another frozen kernel."""
    model = plain_net()
    model.get_layer("a").kernel.assign(model.get_layer("a").kernel + 1)
    return model


def with_loss(loss: Any) -> keras.Model:
    """`square_layers` with another loss."""
    model = plain_net()
    model.compile(keras.optimizers.Adam(0.02), loss)
    return model


def other_y() -> tuple[np.ndarray, np.ndarray]:
    """`data` with one other number."""
    x, y = data()
    y[0, 0] += 1
    return x, y


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "plan": ({"plan": HEAD}, "another plan"),
    "values": ({"make": shifted}, "other values of frozen weights: a/kernel"),
    "optimizer": (
        {"make": lambda: plain_net(keras.optimizers.SGD(0.02))},
        "another optimizer: SGD, which was Adam",
    ),
    "settings": (
        {"make": lambda: plain_net(keras.optimizers.Adam(0.02, beta_1=0.8, clipnorm=1.0))},
        "another optimizer: beta_1, clipnorm of Adam",
    ),
    "loss": ({"make": lambda: with_loss("mae")}, "the loss 'mae', which was 'mse'"),
    "data": ({"source": other_y, "batch_size": BATCH}, "other data: y"),
    "weights": ({"sample_weight": np.ones(SAMPLES)}, "other data: sample_weight"),
    "arguments": (
        {"batch_size": 6, "epochs": 5, "guard": False, "shuffle": False},
        "batch_size=6, which was 4; epochs=5, which was 4; guard=False, which was True; shuffle=False, which "
        "was left out",
    ),
}


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that died in its second epoch."""
    folder = tmp_path_factory.mktemp("run")
    interrupted(folder, 1)
    return folder


@pytest.mark.parametrize(("changes", "said"), OTHERS.values(), ids=OTHERS)
def test_another_run_is_not_continued(a_run: Path, changes: dict[str, Any], said: str) -> None:
    made = changes.get("make", plain_net)()
    before = state_of(made) if made.optimizer.built else None
    with pytest.raises(ResumeError) as caught:
        fit_plan(a_run, [], **{"make": lambda: made} | {k: v for k, v in changes.items() if k != "make"})
    assert str(caught.value) == (
        f"the folder {str(a_run)!r} holds a run that this call cannot continue.\n"
        f"  received: {said}\n"
        "  expected: the model, optimizer, plan, data and arguments that the run began with\n"
        "  to mend:  call fit as then, or name another folder for another run"
    )
    # Nothing was done to the model: no flag, no slot.
    assert all(layer.trainable for layer in made.layers)
    assert not made.optimizer.built
    assert before is None


def test_another_rate_is_not_taken_in_silence(tmp_path: Path) -> None:
    interrupted(tmp_path, 2)
    with pytest.warns(UserWarning) as caught:
        model, _ = fit_plan(tmp_path, [], make=lambda: plain_net(keras.optimizers.Adam(0.5)))
    assert [str(one.message) for one in ours(caught)] == [
        "the optimizer was given with a learning rate of 0.5; the run began with 0.02 and goes on with its "
        "own, 0.02"
    ]
    assert state_of(model) == state_of(fit_plan(None, [], make=plain_net)[0])


def test_another_model_is_not_continued(a_run: Path) -> None:
    with pytest.raises(ResumeError, match=r"received: another model: a/kernel, a/bias, b/kernel"):
        fit_plan(a_run, [], make=bigger, plan=Plan().train("d/**"))


def test_a_loss_that_is_no_number_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """And the message names the folder."""
    poison = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            model.get_layer("c").bias.assign([np.nan] * 4) if epoch == 2 else None
        )
    )
    model = plain_net()
    with pytest.raises(NotFiniteError, match=f"as in the checkpoint in '{tmp_path}' again"):
        fit_plan(tmp_path, [], make=lambda: model, callbacks=lambda: [poison])
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.epoch == 2
    assert all(np.isfinite(value).all() for name, value in found.arrays.items() if name.startswith("model/"))


def test_another_backend_is_not_continued(tmp_path: Path) -> None:
    interrupted(tmp_path, 1)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    state = {**found.state, "identity": {**found.state["identity"], "backend": "numpy"}}
    checkpoint.write(tmp_path, checkpoint.Checkpoint(1, state, found.arrays))
    with pytest.raises(
        ResumeError, match=f"received: the backend {keras.backend.backend()}, which was numpy"
    ):
        fit_plan(tmp_path, [], make=plain_net)


def test_a_refusal_is_an_error_of_frostline() -> None:
    assert issubclass(ResumeError, FrostlineError)


# --- what it costs ----------------------------------------------------------------------------


def test_frozen_weights_cost_nothing(tmp_path: Path) -> None:
    """A checkpoint holds what may change, and nothing else of the model."""
    with pytest.raises(Interrupted):
        fit_plan(tmp_path, [Interrupt(1, "begin")], make=plain_net, plan=HEAD)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    held = {name for name in found.arrays if name.startswith("model/")}
    assert held == {"model/c/kernel", "model/c/bias"}


# --- real kills -------------------------------------------------------------------------------


def killed(folder: Path, way: str, kills: int, seed: int) -> list[dict[str, Any]]:
    """What `killing.py` reports of runs by `fl.fit` or by `frostline fit`."""
    script = Path(__file__).with_name("killing.py")
    folder.mkdir()
    command = [sys.executable, str(script), way, str(folder), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report: list[dict[str, Any]] = json.loads((folder / "report.json").read_text())
    return report


def require_undisturbed(report: list[dict[str, Any]]) -> None:
    """Every run died, and came out as the one that nobody killed."""
    assert all(one["deaths"] for one in report)
    assert [one for one in report if one["difference"] > 1e-6] == []
    assert [one for one in report if one["problems"] or not one["same history"]] == []


def test_killed_by_the_system_in_each_phase(tmp_path: Path) -> None:
    report = killed(tmp_path / "runs", "fit", 1, 0)
    require_undisturbed(report)
    assert len(report) == 3


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fit", "command"])
def test_killed_by_the_system_twenty_times_in_each_phase(tmp_path: Path, way: str) -> None:
    report = killed(tmp_path / "runs", way, 20, 1)
    require_undisturbed(report)
    assert len(report) == 60
