"""`frostline fit`: the folder that it writes to, and runs that go on in it after an interruption."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline.errors import OutputFolderError
from frostline.files.lock import locked
from helpers.command_line import Runner
from helpers.run_configs import BASE, PHASES, SOURCES, final, rows, write


def test_a_finished_run_is_not_overwritten_unless_told(run: Runner) -> None:
    write()
    assert run("fit", "run.yaml").code == 0
    noted = json.loads(Path("out/run.json").read_text())["noted"]
    assert run.fails("fit", "run.yaml") == (
        "the output folder 'out' holds a finished run.\n"
        f"  received: finished {noted}\n"
        "  fix:      name another folder under output:, or replace that run with --overwrite"
    )
    write(epochs=1)
    assert run("fit", "run.yaml", "--overwrite").code == 0
    assert len(rows()) == 1


def test_checkpoints_that_a_kill_left_behind_a_finished_run_go(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    with monkeypatch.context() as killed:
        killed.setattr("frostline.runs.folder.remove_all", lambda folder: None)
        assert run("fit", "run.yaml").code == 0
    Path("out/checkpoints/notes.txt").write_text("mine")
    assert len(list(Path("out/checkpoints").iterdir())) > 1
    assert run("fit", "run.yaml").code == 2
    assert {one.name for one in Path("out/checkpoints").iterdir()} - {".lock"} == {"notes.txt"}
    Path("out/checkpoints/notes.txt").unlink()
    assert run("verify", "out/receipt.json", "--after", "out/model.keras").code == 0


def test_files_of_no_run_are_not_touched(run: Runner) -> None:
    write()
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("")
    for words in ((), ("--overwrite",)):
        assert run.fails("fit", "run.yaml", *words) == (
            "the output folder 'out' holds files that do not belong to a run.\n"
            "  received: thesis.txt\n"
            "  expected: an empty folder, or one that does not exist yet\n"
            "  fix:      name another folder under output:"
        )


def test_a_folder_in_use_is_refused(run: Runner) -> None:
    write()
    Path("out").mkdir()
    elsewhere = "name another folder under output:"
    with locked(Path("out"), OutputFolderError, "output folder", elsewhere):
        assert run.fails("fit", "run.yaml") == (
            "the output folder 'out' is in use by another run.\n"
            f"  received: process {os.getpid()} writes to it\n"
            "  fix:      wait until it ends, or name another folder under output:"
        )
    assert run("fit", "run.yaml").code == 0


def test_a_folder_that_cannot_be_made(run: Runner) -> None:
    write(output="data.npz/out")
    assert run.fails("fit", "run.yaml") == (
        "the output folder 'data.npz/out' cannot be used: Not a directory.\n"
        "  expected: a folder that exists or can be made, and that you may write to\n"
        "  fix:      name another folder under output:"
    )


def interrupted(run: Runner, epoch: int, **changes: Any) -> None:
    """Interrupt a run of phases at the beginning of an epoch."""
    settings = {"epochs": None, "plan": BASE["plan"] | {"phases": PHASES}}
    write(**(SOURCES["arrays"] | settings | {"callbacks": ["mine:interrupting"]} | changes))
    Path("interrupt_at").write_text(str(epoch))
    done = run("fit", "run.yaml")
    assert (done.code, done.err) == (130, "interrupted; to continue: frostline fit run.yaml\n")
    Path("interrupt_at").unlink()


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_goes_on(run: Runner, epoch: int) -> None:
    interrupted(run, epoch)
    done = run("fit", "run.yaml")
    assert done.code == 0
    assert done.lines[0] == "run        run.yaml -> out, continuing where it was interrupted"
    assert [row["epoch"] for row in rows()] == ["1", "2", "3", "4"]
    interrupted_end, whole = final(), rows()
    assert run("fit", "run.yaml", "--overwrite").code == 0
    undisturbed = final()
    for address, value in undisturbed.items():
        np.testing.assert_allclose(interrupted_end[address], value, rtol=0, atol=1e-6)
    assert [row["loss"] for row in whole] == [row["loss"] for row in rows()]


def test_images_go_on_in_the_same_order(run: Runner) -> None:
    interrupted(run, 1, **SOURCES["images"], epochs=3, plan=BASE["plan"])
    assert run("fit", "run.yaml").code == 0
    held = final()
    assert run("fit", "run.yaml", "--overwrite").code == 0
    for address, value in final().items():
        np.testing.assert_allclose(held[address], value, rtol=0, atol=1e-6)


def test_another_run_does_not_go_on_in_the_folder_of_an_interrupted_one(run: Runner) -> None:
    interrupted(run, 1)
    text = Path("run.yaml").read_text().replace("learning_rate: 0.01", "learning_rate: 0.02")
    Path("run.yaml").write_text(text.replace("batch_size: 8", "batch_size: 4"))
    assert run.fails("fit", "run.yaml") == (
        "the output folder 'out' holds an unfinished run that was started with other settings.\n"
        "  received: compile optimizer learning_rate: 0.02, was 0.01; batch_size: 4, was 8\n"
        "  expected: the same config and files, to continue it\n"
        "  fix:      undo the change, name another folder under output:, or start over with --overwrite"
    )


def test_what_was_not_said_and_is_now_put_off_is_another_setting(run: Runner) -> None:
    interrupted(run, 1)
    text = Path("run.yaml").read_text()
    Path("run.yaml").write_text(re.sub(r"( +)learning_rate: 0.01", r"\g<0>\n\1amsgrad: false", text))
    assert "compile optimizer amsgrad: false, was nothing\n" in run.fails("fit", "run.yaml")


def test_other_data_is_noticed(run: Runner) -> None:
    interrupted(run, 1, **SOURCES["npz"], model="base.keras", data={"npz": "data.npz"})
    arrays = dict(np.load("data.npz"))
    Path("data.npz").unlink()
    np.savez("data.npz", **arrays | {"y": arrays["y"][::-1]})
    assert "  received: data.npz has other contents\n" in run.fails("fit", "run.yaml")


def test_a_run_without_a_whole_epoch_begins_anew_with_any_settings(run: Runner) -> None:
    interrupted(run, 0)
    text = Path("run.yaml").read_text().replace("batch_size: 8", "batch_size: 4")
    Path("run.yaml").write_text(text)
    assert run("fit", "run.yaml").code == 0


@pytest.mark.parametrize("name", ["run.yaml", "plan.yaml", "log.txt", "plan.mask-mine.npy"])
def test_files_of_the_users_under_names_of_a_runs_are_not_touched(run: Runner, name: str) -> None:
    write()
    Path("out").mkdir()
    Path("out", name).write_text("mine")
    assert f"  received: {name}\n" in run.fails("fit", "run.yaml")
    assert Path("out", name).read_text() == "mine"


def test_a_run_does_not_remove_what_it_reads(run: Runner) -> None:
    write()
    assert run("fit", "run.yaml").code == 0
    model = Path("out/model.keras").read_bytes()
    write(model="out/model.keras")
    assert "would remove what it did not write" in run.fails("fit", "run.yaml", "--overwrite")
    assert Path("out/model.keras").read_bytes() == model


def test_what_a_user_put_into_a_runs_folder_stays(run: Runner) -> None:
    write()
    assert run("fit", "run.yaml").code == 0
    for name in ("plan.mask-mine.npy", "checkpoints/finished/paper.tex"):
        Path("out", name).parent.mkdir(parents=True, exist_ok=True)
        Path("out", name).write_text("mine")
    assert run("fit", "run.yaml", "--overwrite").code == 2
    assert Path("out/plan.mask-mine.npy").read_text() == "mine"
    assert Path("out/checkpoints/finished/paper.tex").read_text() == "mine"


def test_a_folder_by_the_name_of_a_result_stays(run: Runner) -> None:
    write()
    assert run("fit", "run.yaml").code == 0
    Path("out/model.keras").unlink()
    Path("out/model.keras").mkdir()
    Path("out/model.keras/mine.txt").write_text("mine")
    assert "would remove what it did not write" in run.fails("fit", "run.yaml", "--overwrite")
    assert Path("out/model.keras/mine.txt").exists()
