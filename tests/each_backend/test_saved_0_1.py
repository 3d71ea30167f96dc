"""Files that version 0.1 wrote are readable for good, and say what they said.

`tests/saved/0.1/make.py` wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from helpers.checks import quick_first
from helpers.command_line import Runner, at_work_in
from helpers.saved_files import (
    CONFIGS,
    OWN,
    SAVED,
    WRITERS,
    arrays,
    copied,
    program,
    require_all_close,
    require_close,
    require_same_bits,
    told,
)

by_every_writer = pytest.mark.parametrize("writer", WRITERS)


def assert_still_says(found: fl.Verification, said: dict[str, Any]) -> None:
    """What a verification said then it says now; of what has come since it has nothing to say."""
    data = found.to_data()
    assert {name: data[name] for name in said} == said
    assert not any(data[name] for name in data.keys() - said.keys())


def plainly_loaded(writer: str) -> keras.Model:
    return keras.models.load_model(SAVED / writer / "model.keras")


# Models -------------------------------------------------------------------------------------------


def test_a_model_has_the_bits_and_the_decisions_that_it_was_saved_with() -> None:
    model, before = fl.load_model(OWN / "model.keras"), arrays(OWN / "before.npz")
    require_close(program.outputs_of(model), before.pop("outputs"))
    require_same_bits(program.weights_of(model) | program.slots_of(model), before)
    assert program.decisions_on(model) == told(OWN / "before.json")


def test_a_model_trains_on_to_the_same_numbers() -> None:
    model = fl.load_model(OWN / "model.keras")
    model.run_eagerly = program.EAGER
    before = fl.fingerprint(model)
    model.fit(*program.data(), batch_size=program.BATCH, shuffle=False, verbose=0)
    require_close(program.outputs_of(model), arrays(OWN / "after.npz")["outputs"])
    after = fl.fingerprint(model)
    assert [a for a in before if a.startswith("backbone/") and before[a] != after[a]] == []


def test_a_model_without_a_plan_has_its_flags_and_slots_on_every_backend() -> None:
    model = fl.load_model(SAVED / "flagged.keras")
    found, expected = program.weights_of(model) | program.slots_of(model), arrays(SAVED / "flagged.npz")
    for held in (found, expected):
        held.pop("slots/iteration")  # of another dtype on TensorFlow; it is among the decisions
    require_same_bits(found, expected)
    assert program.decisions_on(model) == told(SAVED / "flagged.json")


@pytest.mark.parametrize("writer", [one for one in WRITERS if one != OWN.name])
def test_a_model_of_another_backend_has_the_decisions_that_it_was_saved_with(writer: str) -> None:
    model = fl.load_model(SAVED / writer / "model.keras")
    assert program.decisions_on(model) == told(SAVED / writer / "before.json")
    require_close(program.outputs_of(model), arrays(SAVED / writer / "before.npz")["outputs"])


@by_every_writer
def test_plain_keras_opens_a_model(writer: str) -> None:
    expected = arrays(SAVED / writer / "before.npz")["outputs"]
    require_close(program.outputs_of(plainly_loaded(writer)), expected)


# Deltas and adapters ------------------------------------------------------------------------------


@by_every_writer
def test_a_delta_comes_to_its_base_and_off_again(writer: str) -> None:
    model = program.base()
    before = fl.fingerprint(model)
    loaded = fl.load_delta(model, SAVED / writer / "tuned.safetensors")
    require_close(program.outputs_of(model), arrays(SAVED / writer / "before.npz")["outputs"])
    assert loaded.delta.plan == program.PLAN.to_data()
    fl.remove_delta(model, "tuned")
    assert fl.fingerprint(model) == before


@by_every_writer
def test_a_delta_rests_on_the_one_that_it_was_trained_on(writer: str) -> None:
    model = program.base()
    for name, below in (("words", ()), ("further", ("words",))):
        loaded = fl.load_delta(model, SAVED / writer / f"{name}.safetensors")
        assert loaded.rests_on == below
        require_close(program.outputs_of(model), arrays(SAVED / writer / f"{name}.npz")["outputs"])


def test_a_delta_is_refused_on_another_base() -> None:
    model = program.base()
    model.get_layer("mid").kernel.assign_add(np.ones((6, 6), "float32"))
    with pytest.raises(fl.FrostlineError, match="made for another base"):
        fl.load_delta(model, OWN / "tuned.safetensors")


def test_deltas_are_read_on_the_command_line(run: Runner) -> None:
    words, further = OWN / "words.safetensors", OWN / "further.safetensors"
    shown = run("delta", "show", str(words), "--json")
    assert (shown.code, shown.data["base_digest"]) == (0, fl.Delta.load(words).base_digest)
    assert run("delta", "diff", str(words), str(words)).code == 0
    assert run("delta", "diff", str(words), str(further)).code == 1


def test_an_adapter_of_peft_is_imported() -> None:
    adapted = program.base()
    fl.import_peft(adapted, OWN / "adapter", names=program.ADAPTER)
    plain, found, trained = (
        fl.inventory(model).by_address["mid/kernel"].numpy()
        for model in (program.base(), adapted, plainly_loaded(OWN.name))
    )
    require_close(found, trained)
    assert np.abs(found - plain).max() > 1e-3


# Receipts -----------------------------------------------------------------------------------------


@by_every_writer
def test_a_receipt_holds_for_its_models(writer: str) -> None:
    receipt = fl.Receipt.load(SAVED / writer / "receipt.json")
    base, tuned = fl.fingerprint(program.base()), fl.fingerprint(plainly_loaded(writer))
    assert receipt.check(before=base, after=tuned) == []
    assert receipt.check_plan(program.base()) == []
    assert_still_says(receipt.verification, told(SAVED / writer / "receipt.json")["verification"])
    assert receipt.check(before=tuned, after=base)


def test_a_receipt_is_verified_on_the_command_line(run: Runner) -> None:
    words = ["verify", str(OWN / "receipt.json"), "--before", str(SAVED / "base.keras"), "--json"]
    done = run(*words, "--after", str(OWN / "model.keras"))
    assert (done.code, done.data["ok"], done.data["problems"]) == (0, True, [])
    assert run(*words, "--after", str(SAVED / "base.keras")).code == 1


# Runs that are resumed ----------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_to_the_end_of_an_undisturbed_one(tmp_path: Path) -> None:
    model, run = program.fit_schedule(copied(OWN / "interrupted", tmp_path))
    assert run.resumed == program.INTERRUPTED_AT
    expected, end = told(OWN / "end.json"), arrays(OWN / "end.npz")
    require_close(program.outputs_of(model), end.pop("outputs"))
    require_all_close(program.weights_of(model), end)
    assert run.history.epoch == expected["epochs"]
    phases = (run.history.history.pop("phase"), expected["history"].pop("phase"))
    assert phases[0] == phases[1]
    require_all_close(run.history.history, expected["history"])
    assert run.verification is not None
    assert_still_says(run.verification, expected["verification"])
    assert program.decisions_on(model) == expected["decisions"]
    assert run.receipt is not None
    assert run.receipt.check(after=fl.fingerprint(model)) == []


def test_a_finished_run_is_at_its_end(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="is finished: its final state was restored"):
        model, run = program.fit_head(copied(OWN / "finished", tmp_path))
    assert run.resumed == 1
    assert run.receipt is not None
    assert run.receipt.check(before=fl.fingerprint(program.base()), after=fl.fingerprint(model)) == []
    assert run.receipt.trained == ("head/kernel", "head/bias")
    assert fl.fingerprint(model)["head/kernel"] != fl.fingerprint(program.base())["head/kernel"]


# Plan files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(told(SAVED / "plans" / "decisions.json")))
def test_a_plan_file_decides_what_it_decided(name: str) -> None:
    expected = told(SAVED / "plans" / "decisions.json")[name]
    assert program.decisions_in(SAVED / "plans" / name, program.base()) == expected


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_saved_plans_are_those_that_were_saved(ending: str) -> None:
    folder = SAVED / "plans"
    by_hand, saved = fl.Plan.load(folder / "by_hand.yaml"), fl.Plan.load(folder / f"saved.{ending}")
    assert saved.to_data() == by_hand.to_data()
    assert fl.Schedule.load(folder / f"saved_phases.{ending}") == program.SCHEDULE


# Run configs --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the run configs and all that they name, to stand in."""
    with at_work_in(copied(SAVED / "fit", tmp_path / "fit"), monkeypatch) as here:
        yield here


def require_end_of(name: str, folder: Path) -> None:
    """The model of a run config is what 0.1 made it."""
    model = keras.models.load_model(folder / "out" / "model.keras", compile=False)
    every = arrays(OWN / "fit.npz")
    expected = {key.partition("/")[2]: value for key, value in every.items() if key.startswith(f"{name}/")}
    require_all_close(program.weights_of(model), expected)


def test_an_interrupted_run_of_a_config_goes_on(folder: Path, run: Runner) -> None:
    copied(OWN / "fit", folder / "out")
    done = run("fit", "run.yaml", "--json")
    assert (done.code, done.data["resumed"], done.data["epochs"]) == (0, True, 3)
    require_end_of("run", folder)
    written = ["--before", "table.keras", "--after", "out/model.keras"]
    assert run("verify", "out/receipt.json", *written).code == 0


@pytest.mark.parametrize("name", quick_first(CONFIGS, ["arrays"]))
def test_a_run_config_is_estimated(name: str, folder: Path, run: Runner) -> None:
    done = run("fit", f"{name}.yaml", "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    assert len(done.data["phases"]) == (2 if name == "run" else 1)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", quick_first(CONFIGS, []))
def test_a_run_config_runs_to_the_same_end(name: str, folder: Path, run: Runner) -> None:
    done = run("fit", f"{name}.yaml", "--json")
    assert (done.code, done.data["verified"]) == (0, True), done.err
    require_end_of(name, folder)
