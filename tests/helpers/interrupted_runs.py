"""What the tests of resuming share: runs, what interrupts them, and what must come of them.

Import as `from helpers.interrupted_runs import fit_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline import Phase, Plan, Schedule
from helpers.garbage import collect_soon
from helpers.small_models import SEED, square_layers

SAMPLES, BATCH, STEPS = 12, 4, 3
EAGER = keras.backend.backend() != "torch"
"""Compiling takes longer than a few steps do; real kills happen to compiled models."""
BRANCHES = keras.backend.backend() == "tensorflow"
"""The same for optimizers that branch, which JAX compiles anew at every step that is not compiled."""
HEAD = Plan().train("c/**")
PHASES = (
    Phase("head", epochs=2),
    Phase("middle", steps=4, lr=0.5).train("b/**").train("bn/**").freeze("c/bias"),
    Phase("all", epochs=2).train("**"),
)
"""Six epochs; the last two steps of the fourth belong to `all`."""


# --- models and data ---------------------------------------------------------------------------


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


# --- interruptions -----------------------------------------------------------------------------


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


def some_moments(epochs: int) -> list[tuple[int, str]]:
    """One moment of each epoch, another each time."""
    return [(epoch, ("middle", "end", "begin")[epoch % 3]) for epoch in range(epochs)]


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


def interrupted(folder: Path, epoch: int = 3) -> None:
    """A folder with the checkpoints of a run that died at the beginning of an epoch."""
    with pytest.raises(Interrupted):
        fit_plan(folder, [Interrupt(epoch, "begin")], make=plain_net)


# --- what is looked at -------------------------------------------------------------------------


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
        collect_soon()
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
            # Said where a run goes on, and only there.
            assert all(said.startswith("callbacks: ") for said in told.pop("not_compared", ()))
            for fingerprint in (told["after"], *(phase["after"] for phase in told["phases"])):
                # Metrics of an epoch that ended in another process.
                for address in [a for a, digest in fingerprint.items() if digest["role"] == "metric"]:
                    del fingerprint[address]
        assert one == other
        assert run.receipt.check(after=fl.fingerprint(model)) == []
    return run


def ours(caught: Iterable[Any]) -> list[Any]:
    """The warnings that are not Keras's about NumPy."""
    return [one for one in caught if "__array__" not in str(one.message)]
