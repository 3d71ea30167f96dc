"""The folder of a run: damaged checkpoints, a full disk, runs that are finished, what a checkpoint holds."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from frostline import Schedule
from frostline.errors import NotFiniteError, ResumeError
from frostline.training.resume import checkpoint
from helpers import interrupted_runs
from helpers.interrupted_runs import (
    HEAD,
    PHASES,
    Interrupt,
    Interrupted,
    fit_plan,
    interrupted,
    ours,
    plain_net,
    state_of,
)


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
        f"the run in {str(tmp_path)!r} is finished: its final state was restored, and nothing was trained; "
        "name another folder to train again"
    ]
    assert ours(caught)[0].filename == interrupted_runs.__file__  # where `fit_plan` calls fit
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
        ": No space left on device; the training continues, and the previous checkpoint is kept"
    )
    assert sorted(p.name for p in tmp_path.glob("[a-z]*")) == ["epoch-000004", "finished"]


def test_a_folder_in_use(tmp_path: Path) -> None:
    with checkpoint.reserved(tmp_path), pytest.raises(ResumeError, match="is in use by another run"):
        fit_plan(tmp_path, [])


def test_a_loss_that_is_no_number_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """And the message names the folder."""
    poison = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            model.get_layer("c").bias.assign([np.nan] * 4) if epoch == 2 else None
        )
    )
    model = plain_net()
    with pytest.raises(NotFiniteError, match=f"restored from the checkpoint in '{tmp_path}'"):
        fit_plan(tmp_path, [], make=lambda: model, callbacks=lambda: [poison])
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.epoch == 2
    assert all(np.isfinite(value).all() for name, value in found.arrays.items() if name.startswith("model/"))


def test_frozen_weights_cost_nothing(tmp_path: Path) -> None:
    """A checkpoint holds what may change, and nothing else of the model."""
    with pytest.raises(Interrupted):
        fit_plan(tmp_path, [Interrupt(1, "begin")], make=plain_net, plan=HEAD)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    held = {name for name in found.arrays if name.startswith("model/")}
    assert held == {"model/c/kernel", "model/c/bias"}
