"""Runs that are not the one in the folder: they are not continued, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from frostline import Plan
from frostline.errors import FrostlineError, ResumeError
from frostline.training.resume import checkpoint
from helpers.interrupted_runs import (
    BATCH,
    EAGER,
    HEAD,
    SAMPLES,
    data,
    fit_plan,
    interrupted,
    ours,
    plain_net,
    state_of,
)
from helpers.small_models import square_layers


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
    model.compile(keras.optimizers.Adam(0.02), loss, run_eagerly=EAGER)
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
        "another optimizer: SGD now, Adam before",
    ),
    "settings": (
        {"make": lambda: plain_net(keras.optimizers.Adam(0.02, beta_1=0.8, clipnorm=1.0))},
        "another optimizer: beta_1, clipnorm of Adam",
    ),
    "loss": ({"make": lambda: with_loss("mae")}, "loss: 'mae' now, 'mse' before"),
    "data": ({"source": other_y, "batch_size": BATCH}, "other data: y"),
    "weights": ({"sample_weight": np.ones(SAMPLES)}, "other data: sample_weight"),
    "arguments": (
        {"batch_size": 6, "epochs": 5, "guard": False, "shuffle": False},
        "batch_size: 6 now, 4 before; epochs: 5 now, 4 before; guard: False now, True before; "
        "shuffle: False now, left out before",
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
        "  fix:      call fit with the original arguments, or name another folder for another run"
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
        "the learning rate given (0.5) is ignored: the resumed run, which began with 0.02, continues with "
        "0.02"
    ]
    assert state_of(model) == state_of(fit_plan(None, [], make=plain_net)[0])


def test_another_model_is_not_continued(a_run: Path) -> None:
    with pytest.raises(ResumeError, match=r"received: another model: a/kernel, a/bias, b/kernel"):
        fit_plan(a_run, [], make=bigger, plan=Plan().train("d/**"))


def test_another_backend_is_not_continued(tmp_path: Path) -> None:
    interrupted(tmp_path, 1)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    state = {**found.state, "identity": {**found.state["identity"], "backend": "numpy"}}
    checkpoint.write(tmp_path, checkpoint.Checkpoint(1, state, found.arrays))
    with pytest.raises(ResumeError, match=f"received: backend: {keras.backend.backend()} now, numpy before"):
        fit_plan(tmp_path, [], make=plain_net)


def test_a_refusal_is_an_error_of_frostline() -> None:
    assert issubclass(ResumeError, FrostlineError)
