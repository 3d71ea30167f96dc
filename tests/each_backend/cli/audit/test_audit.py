"""`frostline audit`: what it prints, how it ends, which models, data and plans it takes, what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from helpers.audit_folder import (
    FROM_MODULE,
    line_of,
    made,
    write_run,
)
from helpers.command_line import Runner

BACKEND = keras.backend.backend()


# What it prints -----------------------------------------------------------------------------------


@pytest.mark.every_backend
def test_a_good_model(run: Runner) -> None:
    done = run("audit", "mine:good", *FROM_MODULE)
    assert (done.code, done.err) == (0, "")
    title, *rest = done.lines
    assert re.fullmatch(r"Audit of net, loss \d\.\d+ on this batch", title)
    assert rest == [
        "weights                                                 status  count",
        "features/kernel, features/bias, head/kernel and 1 more  trains      4",
        "",
        "ok: nothing found",
    ]


def test_a_cut_gradient(run: Runner) -> None:
    done = run("audit", "mine:rounding", *FROM_MODULE)
    assert (done.code, done.err) == (1, "")
    assert done.lines[1:] == [
        "weights                         status  count",
        "features/kernel, features/bias  cut         2",
        "head/kernel, head/bias          trains      2",
        "",
        "features/kernel, features/bias: cut (FL101 error)",
        f"  round has a derivative of zero wherever it has one (mine.py:{line_of('return ops.round(x)')}, in "
        "layer 'rounding'):",
        "      return ops.round(x)",
        "  route: features/kernel > features > rounding > round",
        "  fix: let the gradient pass as if round were not there (straight-through estimator): x +",
        "  stop_gradient(round(x) - x)",
        "",
        "not ok: 1 error",
    ]
    assert not any(line.endswith(" ") for line in done.out.splitlines())


def test_json(run: Runner) -> None:
    good = run("audit", "mine:good", *FROM_MODULE, "--json")
    assert (good.code, good.data["ok"], good.data["findings"]) == (0, True, [])
    done = run("audit", "mine:rounding", *FROM_MODULE, "--json")
    data = done.data
    assert (done.code, done.err) == (1, "")
    assert (data["frostline"], data["model"], data["ok"]) == (1, "net", False)
    assert data["statuses"] == {
        "features/kernel": "cut",
        "features/bias": "cut",
        "head/kernel": "trains",
        "head/bias": "trains",
    }
    (finding,) = data["findings"]
    assert (finding["code"], finding["severity"]) == ("FL101", "error")
    assert finding["where"]["line"] == line_of("return ops.round(x)")
    assert finding["where"]["file"].endswith("/mine.py")


def test_findings_below_the_chosen_severity_do_not_fail(run: Runner) -> None:
    Path("active.yaml").write_text("frostline: 1\nstochastic: active\nrules: [{train: 'head/**'}]\n")
    words = ("audit", "mine:dropped", *FROM_MODULE, "--plan", "active.yaml")
    done = run(*words)
    assert "FL203 warning  drop: " in done.out
    assert (done.code, run(*words, "--severity", "warning").code) == (0, 1)


def test_a_weight_that_does_not_train_fails_whatever_the_severity(run: Runner) -> None:
    done = run("audit", "mine:dead", *FROM_MODULE)
    assert done.code == 1
    assert "features/kernel, features/bias, off/kernel, off/bias: zero (FL103 warning)" in done.out
    assert "  route: features/kernel > features > off > head > loss\n" in done.out
    assert "  note: relu hands back zeros for 4 of 4 units, for every sample (in layer 'off')" in done.out
    assert "head/kernel: zero (FL103 warning)" in done.out


def test_help_is_quick_and_names_every_option() -> None:
    command = Path(sys.executable).with_name("frostline")
    began = os.times().children_user
    done = subprocess.run([command, "audit", "--help"], capture_output=True, text=True, check=True)
    # Seconds of its own, however busy the machine: importing Keras alone takes several.
    assert os.times().children_user - began < 1.5
    for name in ("data", "target", "plan", "phase", "loss", "severity", "samples", "json", "import"):
        assert f"--{name}" in done.stdout
    assert "keras" not in done.stderr


# Models, data, plans ------------------------------------------------------------------------------


def test_a_keras_file(run: Runner) -> None:
    made("rounding").save("rounding.keras")
    done = run("audit", "rounding.keras", "--data", "data.npz", "--import", "mine")
    assert done.code == 1
    assert "features/kernel, features/bias: cut" in done.out


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("good", ("data.npz",)),
        ("good", ("named.npz", "--target", "kinds")),
        ("good", ("table.csv",)),
        ("good", ("table.csv", "--target", "kind")),
        ("one_hot", ("table.csv",)),
        ("images", ("images",)),
        ("good", ("mine:arrays",)),
        ("good", ("mine:batches",)),
        ("penalty", ("mine:inputs",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_data_of_every_kind(run: Runner, model: str, data: tuple[str, ...]) -> None:
    done = run("audit", f"mine:{model}", "--data", *data, "--json")
    assert (done.code, done.err) == (0, "")
    assert set(done.data["statuses"].values()) == {"trains"}


def test_as_many_samples_as_asked_for(run: Runner) -> None:
    losses = {
        words: run("audit", "mine:good", "--data", words[0], "--samples", words[1], "--json").data["loss"]
        for words in (("mine:arrays", "8"), ("mine:arrays", "3"), ("mine:batches", "3"))
    }
    assert losses["mine:arrays", "3"] == pytest.approx(losses["mine:batches", "3"])
    assert losses["mine:arrays", "3"] != pytest.approx(losses["mine:arrays", "8"])


def test_weights_of_samples_count(run: Runner) -> None:
    done = run("audit", "mine:good", "--data", "mine:weighed", "--json")
    assert done.code == 1
    assert set(done.data["statuses"].values()) == {"zero"}


def test_under_a_plan(run: Runner) -> None:
    done = run("audit", "mine:rounding", *FROM_MODULE, "--plan", "head.yaml", "--json")
    assert done.code == 0
    assert done.data["statuses"]["features/kernel"] == "frozen"
    done = run("audit", "mine:rounding", *FROM_MODULE, "--plan", "features.yaml", "--json")
    assert done.code == 1
    assert done.data["statuses"]["features/kernel"] == "cut"


def test_the_phases_of_a_plan(run: Runner) -> None:
    words = ("audit", "mine:rounding", *FROM_MODULE, "--plan", "phases.yaml")
    assert run(*words).code == run(*words, "--phase", "probe").code == 0
    assert run(*words, "--phase", "finetune").code == 1


def test_another_loss(run: Runner) -> None:
    words = ("audit", "mine:uncompiled", *FROM_MODULE, "--json", "--loss")
    by_name = run(*words, "sparse_categorical_crossentropy").data
    assert by_name["loss"] == pytest.approx(run("audit", "mine:good", *FROM_MODULE, "--json").data["loss"])
    own = run(*words, "mine:absolute").data
    assert own["loss"] == pytest.approx(1 / 3)


def test_a_run_config(run: Runner) -> None:
    write_run()
    before = set(Path.cwd().iterdir())
    done = run("audit", "run.yaml", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.data["statuses"] == {
        "features/kernel": "frozen",
        "features/bias": "frozen",
        "head/kernel": "trains",
        "head/bias": "trains",
    }
    # Nothing is written, not even the folder of the run.
    assert set(Path.cwd().iterdir()) == before


def test_the_plan_of_a_run_config_by_phase_or_replaced(run: Runner) -> None:
    write_run(plan="phases.yaml", epochs=None)

    def trained(*words: str) -> set[str]:
        statuses = run("audit", "run.yaml", "--json", *words).data["statuses"]
        return {address.split("/")[0] for address, status in statuses.items() if status == "trains"}

    assert trained() == trained("--phase", "probe") == {"head"}
    assert trained("--phase", "finetune") == {"head", "features"}
    assert trained("--plan", "features.yaml") == {"features"}
