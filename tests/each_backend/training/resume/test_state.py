"""Runs that are interrupted and go on: they end with the bits of undisturbed ones.

See also `test_callbacks`, `test_data`, `test_folder`, `test_refused` and `test_killed` beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pytest

import frostline as fl
from frostline import Phase, Plateau, Schedule
from frostline.errors import ResumeError
from frostline.parametrization.adapters import LowRank
from frostline.parametrization.selections import Rows
from frostline.training.resume import checkpoint
from helpers.interrupted_runs import (
    BATCH,
    BRANCHES,
    HEAD,
    PHASES,
    Interrupt,
    Interrupted,
    data,
    fit_plan,
    plain_net,
    random_net,
    require_interruptible,
    some_moments,
    state_of,
)


def every_moment(epochs: int) -> list[tuple[int, str]]:
    """Each moment of each epoch, and the end of the training."""
    moments = [(epoch, moment) for epoch in range(epochs) for moment in ("begin", "middle", "end")]
    return [*moments, (epochs - 1, "train end")]


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
    names = ["head", "head", "middle", "middle > all", "all", "all"]
    assert run.history.history["phase"] == names[: len(run.history.epoch)]
    assert len(set(run.history.history["learning_rate"])) > 2


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
@pytest.mark.parametrize("per_call", [2, pytest.param(3, marks=pytest.mark.slow)])
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


@pytest.mark.every_backend
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

    def plateau() -> list[Any]:
        # Before Keras 3.15, one that was used before keeps the best value that it saw.
        return [keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=1.0)]

    model, reduce = random_net(eager=False), plateau()
    plan, common = Schedule(HEAD, PHASES[::2]), {"batch_size": BATCH, "verbose": 0, "resume": tmp_path}
    for moment in ((1, "middle"), (2, "end"), (3, "middle")):
        with pytest.raises(Interrupted):
            fl.fit(model, plan, *data(), callbacks=[*reduce, Interrupt(*moment)], **common)
    fl.fit(model, plan, *data(), callbacks=reduce, **common)
    other = random_net(eager=False)
    fl.fit(other, plan, *data(), callbacks=plateau(), **common | {"resume": None})
    assert state_of(model) == state_of(other)
