"""`frostline why`: what it prints, how it ends, which weights it knows, what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers.command_line import Runner, at_work_in

BACKEND = keras.backend.backend()
RAW = {
    "jax": "jnp.ones(shape[-1])",
    "tensorflow": "tf.Variable(tf.ones(shape[-1]), name='scale')",
    "torch": "torch.nn.Parameter(torch.ones(shape[-1]))",
}[BACKEND]
IMPORT = {"jax": "import jax.numpy as jnp", "tensorflow": "import tensorflow as tf", "torch": "import torch"}
MODULE = f"""\
import keras
import numpy as np
from keras import layers, ops
{IMPORT[BACKEND]}

import frostline as fl


@keras.saving.register_keras_serializable("asked")
class Choosing(layers.Layer):
    def call(self, x):
        chosen = ops.argmax(x, axis=-1)
        return ops.one_hot(chosen, 5)


class Scaling(layers.Layer):
    def build(self, shape):
        self.scale = {RAW}

    def call(self, x):
        return x * self.scale


class Making(layers.Layer):
    def call(self, x):
        return layers.Dense(4, name="fresh")(x)


def stack(*between):
    keras.utils.set_random_seed(0)
    features = layers.Dense(5, "tanh", name="features")
    stack = [keras.Input((4,)), features, *between, layers.Dense(3, name="head")]
    model = keras.Sequential(stack, name="net")
    model.compile("adam", "mse")
    return model


def good():
    return stack()


def choosing():
    return stack(Choosing(name="choosing"))


def scaling():
    return stack(Scaling(name="scaling"))


def making():
    return stack(Making(name="making"))


def rows():
    model = stack()
    fl.parametrize(model, "features/kernel", fl.Rows([0, 2]))
    return model


def lora():
    model = stack()
    fl.parametrize(model, "features/kernel", fl.LowRank(2))
    return model


def split():
    model = stack(Choosing(name="choosing"))
    fl.parametrize(model, "features/kernel", fl.Rows([0, 2]))
    return model


def arrays():
    rng = np.random.default_rng(3)
    return rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 3)).astype("float32")
"""
DATA = ("--data", "mine:arrays")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run each case in a folder of its own that has the module, and forget what it registers."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "head.yaml").write_text("frostline: 1\nrules: [{train: 'head/**'}]\n")
    with at_work_in(tmp_path, monkeypatch):
        yield tmp_path


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(MODULE.splitlines(), 1) if line.strip() == text)


def test_a_weight_that_trains(run: Runner) -> None:
    done = run("why", "mine:good", "features/kernel", *DATA)
    assert (done.code, done.err) == (0, "")
    first, *rest = done.lines
    assert re.fullmatch(r"features/kernel: trains \(a gradient reaches it, of norm \d\.\d+\)", first)
    assert rest == ["  route: features/kernel > features > head > loss"]


def test_a_cut_gradient(run: Runner) -> None:
    done = run("why", "mine:choosing", "features/kernel", *DATA)
    assert (done.code, done.err) == (1, "")
    assert done.lines == [
        "features/kernel: cut (the loss depends on it, but no gradient reaches it)",
        "  argmax gives integers or booleans, which no gradient passes through (mine.py:"
        f"{line_of('chosen = ops.argmax(x, axis=-1)')}, in layer",
        "  'choosing'):",
        "      chosen = ops.argmax(x, axis=-1)",
        "  route: features/kernel > features > choosing > argmax",
        "  fix: choose softly: weights of softmax(x / temperature) in place of the index; or keep the hard",
        "  choice and the soft gradient: soft + stop_gradient(hard - soft)",
    ]


def test_all_weights_by_cause_most_first(run: Runner) -> None:
    done = run("why", "mine:choosing", *DATA)
    assert (done.code, done.err) == (1, "")
    heads = [line for line in done.lines if re.match(r"\d+ weights?, ", line)]
    assert heads == [
        "2 weights, features/kernel, features/bias: cut",
        "2 weights, head/kernel, head/bias: trains",
    ]
    assert "      chosen = ops.argmax(x, axis=-1)" in done.lines
    assert done.lines[-1] == "not ok: 2 weights of 4 cannot do what is planned"
    assert run("why", "mine:good", *DATA).lines[-1] == "ok: 4 weights as planned"


def test_weights_that_a_selector_picks(run: Runner) -> None:
    done = run("why", "mine:choosing", "{features,head}/kernel", *DATA, "--json")
    groups = [(one["status"], one["weights"]) for one in done.data["groups"]]
    assert groups == [("cut", ["features/kernel"]), ("trains", ["head/kernel"])]
    assert done.data["groups"][0]["explanations"][0]["cuts"][0]["operation"] == "argmax"
    held = run("why", "mine:good", "features/**", *DATA, "--plan", "head.yaml")
    assert held.code == 0
    assert "2 weights, features/kernel, features/bias: frozen" in held.lines
    assert run("why", "mine:good", "**/nothing", *DATA).code == 2


def test_json(run: Runner) -> None:
    done = run("why", "mine:choosing", "features/kernel", *DATA, "--json")
    data = done.data
    assert (done.code, done.err) == (1, "")
    assert (data["frostline"], data["address"], data["status"]) == (1, "features/kernel", "cut")
    (cut,) = data["cuts"]
    assert (cut["reason"], cut["operation"], cut["layer"]) == ("integer", "argmax", "choosing")
    assert cut["where"]["line"] == line_of("chosen = ops.argmax(x, axis=-1)")
    assert [step["name"] for step in data["route"]][:3] == ["features/kernel", "features", "choosing"]
    good = run("why", "mine:good", "head/bias", *DATA, "--json")
    assert (good.code, good.data["status"], good.data["cuts"]) == (0, "trains", [])
    assert good.data["gradient_norm"] > 0


def test_a_keras_file_and_an_archive_of_arrays(run: Runner) -> None:
    sys.path.insert(0, str(Path.cwd()))
    import mine

    mine.choosing().save("choosing.keras")
    x, y = mine.arrays()
    np.savez("data.npz", x=x, y=y)
    words = ("why", "choosing.keras", "features/kernel", "--data", "data.npz", "--import", "mine")
    assert run(*words).lines == run("why", "mine:choosing", "features/kernel", *DATA).lines


def test_a_selector_that_picks_one(run: Runner) -> None:
    assert run("why", "mine:good", "head/k*", *DATA).out.startswith("head/kernel: trains ")


def test_under_a_plan(run: Runner) -> None:
    done = run("why", "mine:good", "features/kernel", *DATA, "--plan", "head.yaml")
    assert done.code == 0
    assert done.lines[0] == "features/kernel: frozen (it is held fixed)"
    assert run("why", "mine:choosing", "head/kernel", *DATA, "--plan", "head.yaml").code == 0


def test_another_loss(run: Runner) -> None:
    done = run("why", "mine:good", "head/bias", *DATA, "--loss", "mae", "--json")
    assert done.code == 0
    squared = run("why", "mine:good", "head/bias", *DATA, "--json")
    assert done.data["gradient_norm"] != pytest.approx(squared.data["gradient_norm"])


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("rows", "rows 0, 2"),
        ("lora", "rank 2"),
    ],
)
def test_a_parametrized_weight(run: Runner, model: str, what: str) -> None:
    done = run("why", f"mine:{model}", "features/kernel", *DATA)
    assert (done.code, done.err) == (0, "")
    first, route, note = done.lines
    assert first.startswith("features/kernel: partial (a gradient reaches the part of it that trains")
    assert route.endswith(" > features > head > loss")
    assert note == f"  note: what trains of it: {what}"


def test_a_parametrized_weight_that_is_cut_off(run: Runner) -> None:
    done = run("why", "mine:split", "features/kernel", *DATA)
    assert done.code == 1
    assert done.lines[0].startswith("features/kernel: cut (")
    assert f"mine.py:{line_of('chosen = ops.argmax(x, axis=-1)')}" in done.out


def test_a_raw_variable_of_the_backend(run: Runner) -> None:
    audited = run("audit", "mine:scaling", *DATA, "--json").data
    (name,) = [a for a, status in audited["statuses"].items() if status == "untracked"]
    line = line_of("return x * self.scale")
    (finding,) = [f for f in audited["findings"] if f["code"] == "FL105"]
    assert finding["where"]["line"] == line
    done = run("why", "mine:scaling", name, *DATA)
    assert done.code == 1
    assert done.lines[0] == f"{name}: untracked (the computation reads it, and the model does not own it)"
    assert done.lines[1] == f"  note: it is read at mine.py:{line}, in layer 'scaling'"
    assert "self.add_weight in build" in done.out


def test_a_layer_made_in_call(run: Runner) -> None:
    audited = run("audit", "mine:making", *DATA, "--json").data
    names = [a for a, status in audited["statuses"].items() if status == "untracked"]
    assert [name.rpartition("/")[2] for name in names] == ["kernel", "bias"]
    (finding,) = [f for f in audited["findings"] if f["code"] == "FL105"]
    assert finding["where"]["line"] == line_of('return layers.Dense(4, name="fresh")(x)')
    # What is random anew at each call says nothing of the configuration.
    assert {f["code"] for f in audited["findings"]} == {"FL105"}


MISUSE = {
    "no such weight": (
        ("head/kernle", *DATA),
        "the model 'net' has no weight 'head/kernle'.\n"
        "  expected: the address of a weight, or a selector that picks one\n"
        "  fix:      did you mean head/kernel, features/kernel, head/bias?",
    ),
    "not readable": (
        ("head/{1..3}", *DATA),
        "the glob 'head/{1..3}' has {1..3}, which a glob does not have, at position 6.\n"
        "  expected: the names in full, {1,2,3}, or a range of digits, [1-3]; a count needs a regular "
        "expression",
    ),
    "no data": (
        ("head/kernel",),
        "computing gradients needs data.\n"
        "  expected: a .npz or .csv file, a folder of images by class, or module:function\n"
        "  fix:      add --data data.npz, or give a run config in place of the model",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_what_cannot_be_answered(run: Runner, case: str) -> None:
    words, message = MISUSE[case]
    assert run.fails("why", "mine:good", *words) == message


@pytest.mark.parametrize("words", [(), ("mine:good", "head/kernel", "--severity", "note")])
def test_words_that_it_does_not_know(run: Runner, words: tuple[str, ...]) -> None:
    done = run("why", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: frostline why ")
    assert "Traceback" not in done.err


def test_help_is_quick() -> None:
    command = Path(sys.executable).with_name("frostline")
    began = os.times().children_user
    done = subprocess.run([command, "why", "--help"], capture_output=True, text=True, check=True)
    # Seconds of its own, however busy the machine: importing Keras alone takes several.
    assert os.times().children_user - began < 1.5
    assert "Address of a weight, or a selector such as 'head/**'; all weights, if left out." in " ".join(
        done.stdout.split()
    )
