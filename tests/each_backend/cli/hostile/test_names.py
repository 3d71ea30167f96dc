"""Names of others on a command line: shown, never acted on, never taken for something else."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

import frostline as fl
from frostline.plan import matching
from frostline.plan.globs import escaped
from frostline.render.foreign import exact
from helpers.command_line import Runner
from helpers.foreign_text import acting
from helpers.hostile_folder import NAMES

pytestmark = pytest.mark.eager
MODEL = "strange:model"
DATA = ("--data", "data.npz", "--loss", "mse")

VERBS = {
    "show": ("show", MODEL),
    "show --full": ("show", MODEL, "--full"),
    "plan": ("plan", MODEL, "plan.yaml"),
    "plan --full": ("plan", MODEL, "plan.yaml", "--full"),
    "plan with phases": ("plan", MODEL, "phases.yaml"),
    "init": ("init", MODEL, "--out", "-"),
    "init --run": ("init", "--run", MODEL, "data.npz", "--out", "-"),
    "audit": ("audit", MODEL, "--data", "rows.npz"),
    "audit under a plan": ("audit", MODEL, "--data", "rows.npz", "--plan", "plan.yaml"),
    "why": ("why", MODEL, r"re:\x1b\[31mred/kernel", "--data", "rows.npz"),
    "why of nothing": ("why", MODEL, "red\x1b[2J", "--data", "rows.npz"),
    "no such file": ("show", "\x1b[31m\u202ex.keras"),
    "no such option": ("show", MODEL, "--\x1b[31m"),
    "no such verb": ("\x1b]0;x\x07",),
    "no such plan": ("plan", MODEL, "pl\x1b[2Jan.yaml"),
}


@pytest.fixture(autouse=True)
def files(folder: Path) -> None:
    np.savez(folder / "rows.npz", x=np.ones((8, 2), "float32"), y=np.ones((8, 2), "float32"))
    plan = fl.Plan().train(fl.selector("**/kernel") if False else "**/kernel")
    for name in NAMES:
        plan = plan.freeze(f"**/{escaped(name)}/bias", optional=True)
    plan.save(folder / "plan.yaml")
    phase = fl.Phase("p\x1b[31m\nverified: [bold]", epochs=1)
    fl.Schedule(plan, (phase,)).save(folder / "phases.yaml")


COMPUTE = ("audit", "why")
REFUSED = keras.backend.backend() == "tensorflow"
"""TensorFlow computes no model with such names, under plain Keras neither: "not a valid root scope name"."""


def test_plain_keras_computes_a_model_with_such_a_name_but_on_tensorflow() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="m\x1b[2K")
    model.compile("sgd", "mse", run_eagerly=False)
    refused = pytest.raises(ValueError, match="not a valid root scope name") if REFUSED else nullcontext()
    with refused:
        model.fit(np.ones((4, 2), "float32"), np.ones((4, 1), "float32"), verbose=0)


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_nothing_that_is_shown_acts(run: Runner, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert acting(done.out) == set()
    assert acting(done.err) == set()
    assert "Traceback" not in done.err
    assert (done.code == 2) == (any("\x1b" in word for word in words) or (REFUSED and words[0] in COMPUTE))


@pytest.mark.parametrize("verb", ["show", "show --full", "plan", "plan with phases", "audit", "why"])
def test_json_is_json_and_has_the_names(run: Runner, verb: str) -> None:
    done = run(*VERBS[verb], "--json")
    assert acting(done.out) == set()
    if REFUSED and verb in COMPUTE:
        assert (done.code, done.out) == (2, "")
        return
    assert "red" in json.dumps(json.loads(done.out))


def test_no_two_names_look_the_same(run: Runner) -> None:
    shown = {line.split("  ")[0].rstrip() for line in run("show", MODEL).lines[2 : 2 + len(NAMES)]}
    assert shown == {exact(name) for name in NAMES}
    assert len(shown) == len(NAMES)


def test_a_name_makes_no_line_of_its_own(run: Runner) -> None:
    for words in VERBS.values():
        done = run(*words)
        assert not [
            line for line in (done.out + done.err).split("\n") if line.startswith(("ok: v", "verified"))
        ]


# Receipts and deltas, whose addresses others may write -----------------------------------------------


def test_a_receipt_cannot_say_that_it_was_verified(run: Runner, folder: Path) -> None:
    if REFUSED:
        pytest.skip("TensorFlow computes no model with such a name")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a\nverified: x\x1b[2K")])
    model.compile("sgd", "mse")
    done = fl.fit(model, fl.Plan().train("**"), np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert done.receipt is not None
    done.receipt.save(folder / "receipt.json")
    data = json.loads((folder / "receipt.json").read_text())
    data["versions"] = {"keras\x1b[2J": "\u202e1"} if "versions" in data else {}
    (folder / "altered.json").write_text(json.dumps(data))
    for name in ("receipt.json", "altered.json"):
        told = run("verify", name)
        assert acting(told.out + told.err) == set()
        assert not [line for line in told.lines if line.startswith("verified")]


# Files that are written ----------------------------------------------------------------------------


def test_a_plan_with_strange_names_is_written_and_read(folder: Path) -> None:
    for name in ("plan.yaml", "phases.yaml"):
        text = (folder / name).read_text(encoding="utf-8")
        assert acting(text) == set()
        assert yaml.safe_load(text)["frostline"] == 1
    assert fl.Schedule.load(folder / "phases.yaml").phases[0].name == "p\x1b[31m\nverified: [bold]"


# Patterns --------------------------------------------------------------------------------------------

IN_FILE = "error: hang.yaml, line 3: the"
PATTERNS = {
    "re:(?:[^/]+)+!": "error: the regular expression '(?:[^/]+)+!' takes too long: it was stopped",
    "re:" + "(" * 3000: f"{IN_FILE} regular expression {'(' * 40!r}... of 3,000 signs cannot be read: ",
    "{" * 3000 + "x" + "}" * 3000: "error: rule 1 ",
    "**/**/**/**/**/**/zzz": "error: rule 1 ",
    "a" * 20_001: f"{IN_FILE} glob {'a' * 40!r}... is too long.",
    "last:" + "9" * 5000: f"{IN_FILE} selector 'last:{'9' * 40}' has too large a count.",
}


@pytest.mark.parametrize(("pattern", "message"), PATTERNS.items(), ids=[p[:12] for p in PATTERNS])
def test_a_pattern_that_could_take_for_ever(
    run: Runner, folder: Path, pattern: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.5)
    plan = {"frostline": 1, "rules": [{"train": pattern}]}
    (folder / "hang.yaml").write_text(yaml.safe_dump(plan, width=10**6))
    began = time.monotonic()
    done = run("plan", MODEL, "hang.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(message)
    assert "Traceback" not in done.err
    assert time.monotonic() - began < 10
