"""A run that is resumed with something changed: refused, or accepted and written down."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import ResumeError
from frostline.training.resume import checkpoint
from helpers.interrupted_runs import Interrupt, Interrupted

pytestmark = pytest.mark.eager

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = np.ones((8, 1), "float32")


def net(rate: float = 0.3, *, named: bool = True, **more: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    names = ("a", "head") if named else (None, None)
    first = keras.layers.Dense(4, name=names[0])
    parts = [keras.Input((3,)), first, keras.layers.Dropout(rate), keras.layers.Dense(1, name=names[1])]
    model = keras.Sequential(parts)
    model.compile(keras.optimizers.Adam(0.01, **more), "mse")
    return model


def fit(folder: Path, model: keras.Model, *callbacks: Any, **more: Any) -> fl.Run:
    settings = {"epochs": 3, "verbose": 0, "callbacks": list(callbacks), "batch_size": 4}
    return fl.fit(model, fl.Plan().train("last:1"), X, Y, resume=folder, **settings | more)


def interrupt(folder: Path, model: keras.Model | None = None, **more: Any) -> None:
    with pytest.raises(Interrupted):
        fit(folder, model or net(), Interrupt(1, "begin"), **more)


def test_a_change_is_refused_or_accepted_and_written_down(tmp_path: Path) -> None:
    interrupt(tmp_path)
    with pytest.raises(ResumeError, match=r"dropout\w*/rate: 0.9, was 0.3"):
        fit(tmp_path, net(0.9))
    with pytest.raises(Interrupted):
        fit(tmp_path, net(0.9), Interrupt(2, "begin"), resume_changed="accept")
    # What the run is by now goes on without more words, and what it was stays written down.
    run = fit(tmp_path, net(0.9))
    assert run.resumed == 2
    assert run.receipt is not None
    assert len(run.changed) == 1
    assert run.changed[0].startswith("from epoch 1: dropout")
    assert run.changed[0].endswith("/rate: 0.9, was 0.3")
    assert run.receipt.changed == run.changed
    assert run.changed[0] in str(run)
    run.receipt.save(tmp_path / "receipt.json")
    assert fl.Receipt.load(tmp_path / "receipt.json").changed == run.changed


def test_arguments_and_data_are_accepted(tmp_path: Path) -> None:
    interrupt(tmp_path)
    with pytest.raises(ResumeError, match="epochs: 4 now, 3 before"):
        fit(tmp_path, net(), epochs=4)
    run = fit(tmp_path, net(beta_1=0.5), epochs=4, resume_changed="accept")
    assert run.changed == (
        "from epoch 1: another optimizer: beta_1 of Adam",
        "from epoch 1: epochs: 4 now, 3 before",
    )
    assert len(run.history.epoch) == 4


def test_other_weights_are_never_accepted(tmp_path: Path) -> None:
    interrupt(tmp_path)
    model = net()
    model.get_layer("a").bias.assign([9.0] * 4)
    with pytest.raises(ResumeError, match="other values of frozen weights: a/bias") as caught:
        fit(tmp_path, model, resume_changed="accept")
    assert "resume_changed='accept' cannot continue with this" in str(caught.value)


@pytest.mark.parametrize("given", ["acept", None, True])
def test_another_word_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ResumeError, match="resume_changed says what to do"):
        fit(tmp_path, net(), resume_changed=given)
    assert list(tmp_path.iterdir()) == []


def test_an_argument_at_its_default_is_the_same_as_left_out(tmp_path: Path) -> None:
    interrupt(tmp_path)
    run = fit(tmp_path, net(), class_weight=None, shuffle=True, validation_split=0.0, steps_per_epoch=None)
    assert (run.resumed, run.changed) == (1, ())
    assert run.not_compared == ("callbacks: how Interrupt are set, and what they do",)


def test_a_cell_of_a_notebook_that_runs_twice_goes_on(tmp_path: Path) -> None:
    """Keras numbers the layers anew; the numbers of the run are those of an undisturbed one."""
    whole = net(named=False)
    expected = fit(tmp_path / "whole", whole)
    interrupt(tmp_path / "run", net(named=False))
    keras.layers.Dense(1)
    model = net(named=False)
    run = fit(tmp_path / "run", model)
    assert run.resumed == 1
    assert run.changed == ()
    for one, other in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert run.history.history == expected.history.history
    assert run.receipt is not None
    assert run.receipt.check(after=fl.fingerprint(model)) == []
    assert set(run.receipt.before) >= {model.layers[0].name + "/kernel"}


def test_a_checkpoint_of_0_1_goes_on_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    interrupt(tmp_path)
    for place in tmp_path.glob("epoch-*"):
        found = checkpoint.read(place)
        identity = {key: one for key, one in found.state["identity"].items() if key != "made of"}
        checkpoint.write(
            tmp_path, checkpoint.Checkpoint(found.epoch, {**found.state, "identity": identity}, found.arrays)
        )
    run = fit(tmp_path, net(0.9))
    assert run.resumed == 1
    said, _ = run.not_compared  # the other is of callbacks
    assert said.startswith("the configuration and the code of model, loss, metrics")
    assert f"not compared: {said}" in str(run)
    assert run.receipt is not None
    assert json.loads(json.dumps(run.receipt.to_data()))["not_compared"] == list(run.not_compared)


def test_a_finished_run_says_what_changed_since(tmp_path: Path) -> None:
    fit(tmp_path, net())
    with pytest.raises(ResumeError, match=r"dropout\w*/rate"):
        fit(tmp_path, net(0.9))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = fit(tmp_path, net(0.9), resume_changed="accept")
    assert any("it was trained before this changed: dropout" in str(one.message) for one in caught)
    assert run.changed == ()
