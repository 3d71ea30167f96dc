"""`frostline audit`: what it prints, how it ends, which models, data and plans it takes, what it refuses."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from helpers.command_line import Runner, folder_beside

BACKEND = keras.backend.backend()
LABELS = ("ant", "bee", "cat")
MODULE = '''\
import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("audited")
class Rounding(layers.Layer):
    def call(self, x):
        return ops.round(x)


class Reshaping(layers.Layer):
    def call(self, x):
        return ops.reshape(x, (7, -1))


def stack(*between, loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(0)
    features = layers.Dense(5, "tanh", name="features")
    head = layers.Dense(3, activation="softmax", name="head")
    model = keras.Sequential([keras.Input((4,)), features, *between, head], name="net")
    if loss:
        model.compile("adam", loss)
    return model


def good():
    return stack()


def rounding():
    return stack(Rounding(name="rounding"))


def uncompiled():
    return stack(loss=None)


def one_hot():
    return stack(loss="categorical_crossentropy")


def dead():
    off = keras.initializers.Constant(-100)
    return stack(layers.Dense(4, "relu", kernel_initializer="ones", bias_initializer=off, name="off"))


def dropped():
    return stack(layers.Dropout(0.5, name="drop"), layers.Dense(4, name="middle"))


class Odd(keras.Model):
    def __init__(self):
        super().__init__(name="odd")
        self.head = layers.Dense(3, name="head")

    def build(self, shape):
        self.head.build(shape)

    def call(self, x):
        return ops.reshape(self.head(x), (7, -1))


def odd():
    model = Odd()
    model.build((None, 4))
    model.compile("sgd", "mse")
    return model


class Penalty(keras.Model):
    """Has a loss of its own and needs no targets."""

    def __init__(self):
        super().__init__(name="penalty")
        self.head = layers.Dense(3, name="head")

    def build(self, shape):
        self.head.build(shape)

    def call(self, x):
        found = self.head(x)
        self.add_loss(ops.mean(found**2))
        return found


def penalty():
    model = Penalty()
    model.build((None, 4))
    model.compile("sgd")
    return model


def images():
    keras.utils.set_random_seed(0)
    pool = layers.GlobalAveragePooling2D(name="pool")
    stack = [keras.Input((6, 5, 3)), layers.Conv2D(4, 3, name="conv"), pool, layers.Dense(2, name="head")]
    model = keras.Sequential(stack, name="images")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def arrays(count=24):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 4)).astype("float32")
    return x, np.argmax(x[:, :3], axis=1)


def weighed():
    x, y = arrays()
    return x, y, np.zeros(len(x), "float32")


def inputs():
    return {"x": arrays()[0]}


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, number):
        x, y = arrays()
        return x[8 * number : 8 * number + 8], y[8 * number : 8 * number + 8]


def batches():
    return Batches()


def nothing():
    return iter(())


def number():
    return 3


def absolute(y, predicted):
    return ops.mean(ops.abs(predicted))


def broken(y, predicted):
    raise ValueError("broken on purpose")
'''
PLANS: dict[str, Any] = {
    "head.yaml": {"rules": [{"train": "head/**"}]},
    "features.yaml": {"rules": [{"train": "features/**"}]},
    "none.yaml": {"rules": [{"train": "decoder/**"}]},
    "phases.yaml": {
        "rules": [{"train": "head/**"}],
        "phases": [
            {"name": "probe", "epochs": 1},
            {"name": "finetune", "epochs": 1, "rules": [{"train": "features/**"}]},
        ],
    },
}
RUN: dict[str, Any] = {
    "frostline": 1,
    "model": "good.keras",
    "data": {"npz": "data.npz"},
    "compile": {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"},
    "plan": "head.yaml",
    "epochs": 1,
    "output": "out",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and the same data in every form."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "mine.py").write_text(MODULE)
    for name, plan in PLANS.items():
        (folder / name).write_text(yaml.safe_dump({"frostline": 1, **plan}, sort_keys=False))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4)).astype("float32")
    y = np.argmax(x[:, :3], axis=1)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "named.npz", things=x, kinds=y)
    np.savez(folder / "narrow.npz", x=x[:, :3], y=y)
    np.savez(folder / "classes.npz", x=x, y=y + 1)
    (folder / "cut.npz").write_bytes((folder / "data.npz").read_bytes()[:200])
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["kind", "p", "q", "r", "s"])
        writer.writerows([LABELS[label], *row] for row, label in zip(x.tolist(), y, strict=True))
    draw_images(folder / "images", rng)
    return folder


def draw_images(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for image in range(3):
            Image.fromarray(rng.integers(0, 255, (9, 7, 3)).astype("uint8")).save(
                folder / name / f"{image}.png"
            )


folder = pytest.fixture(autouse=True)(folder_beside)


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(MODULE.splitlines(), 1) if line.strip() == text)


def write_run(**changes: Any) -> None:
    made("good").save("good.keras")
    data = {key: value for key, value in (RUN | changes).items() if value is not None}
    Path("run.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def made(name: str) -> keras.Model:
    """A model of the module, made in this process."""
    sys.path.insert(0, str(Path.cwd()))
    import mine

    return getattr(mine, name)()


# What it prints -----------------------------------------------------------------------------------

FROM_MODULE = ("--data", "mine:arrays")


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
    assert "features/kernel, features/bias, off/kernel, off/bias and 1 more: zero (FL103 warning)" in done.out
    assert "  route: features/kernel > features > off > head > loss\n" in done.out


@pytest.mark.one_backend
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


# What it refuses ----------------------------------------------------------------------------------

KINDS = "  expected: a .npz or .csv file, a folder of images by class, or module:function"
MISUSE: dict[str, tuple[tuple[str, ...], str]] = {
    "no data": (
        ("mine:good",),
        "a model alone says nothing of its gradients: they need data.\n"
        f"{KINDS}\n"
        "  fix:      add --data data.npz, or give a run config in place of the model",
    ),
    "no such data": (
        ("mine:good", "--data", "dta.npz"),
        f"there is no data 'dta.npz'.\n{KINDS}\n  fix:      the folder '.' has data.npz, cut.npz, named.npz",
    ),
    "no such model": (
        ("god.keras", "--data", "data.npz"),
        "there is no model 'god.keras'.\n"
        "  expected: a .keras file, or module:function\n"
        "  fix:      the folder '.' has good.keras, broken.keras",
    ),
    "no such function": (
        ("mine:goood", "--data", "data.npz"),
        "the module 'mine' has no function 'goood'.\n  fix:      did you mean mine:good, mine:odd?",
    ),
    "broken model": (
        ("broken.keras", "--data", "data.npz"),
        "'broken.keras' is truncated or damaged: File is not a zip file.\n"
        "  received: 100 bytes\n"
        "  expected: a whole .keras archive\n"
        "  fix:      copy or save the model again",
    ),
    "broken data": (
        ("mine:good", "--data", "cut.npz"),
        "'cut.npz' is not a whole NumPy archive.\n"
        "  received: File is not a zip file\n"
        "  expected: a file that np.savez('data.npz', x=x, y=y) wrote",
    ),
    "unclear data": (
        ("mine:good", "--data", "named.npz"),
        "it is not clear which arrays of 'named.npz' are the input and the target.\n"
        "  received: things 40 x 4 float32, kinds 40 int64\n"
        "  fix:      name them x and y: np.savez('data.npz', x=x, y=y)",
    ),
    "data of another kind": (
        ("mine:good", "--data", "mine.py"),
        f"'mine.py' is of no kind that a run reads.\n{KINDS}",
    ),
    "no such column": (
        ("mine:good", "--data", "table.csv", "--target", "knd"),
        "'table.csv' has no column 'knd'.\n"
        "  received: it has kind, p, q, r, s\n"
        "  fix:      did you mean kind?",
    ),
    "wrong shape": (
        ("mine:good", "--data", "narrow.npz"),
        "x of narrow.npz does not fit the input of the model 'net'.\n"
        "  received: samples of shape 3\n"
        "  expected: samples of shape 4",
    ),
    "wrong classes": (
        ("mine:good", "--data", "classes.npz"),
        "classes.npz, sample 0: the target 3 is not a class of the model.\n"
        "  received: targets from 1 to 3\n"
        "  expected: whole numbers from 0 to 2, since the output has 3 classes\n"
        "  fix:      give the last layer 4 units, or mend the targets",
    ),
    "no batches": (
        ("mine:good", "--data", "mine:nothing"),
        "what mine:nothing returned has no batches.\n  expected: at least one batch",
    ),
    "no data returned": (
        ("mine:good", "--data", "mine:number"),
        "mine:number did not return data.\n"
        "  received: an object of type int\n"
        "  expected: (x, y), (x, y, sample_weight), {'x': ..., 'y': ...}, a tf.data.Dataset, a PyDataset, a "
        "DataLoader or another iterable of batches",
    ),
    "uncompiled": (
        ("mine:uncompiled", *FROM_MODULE),
        "the model 'net' has no loss.\n"
        "  received: a model that is not compiled\n"
        "  expected: the loss that it is trained with\n"
        "  fix:      name it: --loss mse, or --loss module:function",
    ),
    "no such loss": (
        ("mine:good", *FROM_MODULE, "--loss", "sparse_crossentropy"),
        "Keras has no loss 'sparse_crossentropy'.\n"
        "  fix:      did you mean binary_crossentropy, sparse_categorical_crossentropy, "
        "categorical_crossentropy?",
    ),
    "several losses": (
        ("mine:good", *FROM_MODULE, "--loss", "crossentropy"),
        "'crossentropy' stands for several losses.\n"
        "  expected: the name of one loss\n"
        "  fix:      name it in full: binary_crossentropy, categorical_crossentropy or "
        "sparse_categorical_crossentropy",
    ),
    "loss that does not fit": (
        ("mine:good", *FROM_MODULE, "--loss", "categorical_crossentropy"),
        "y of what mine:arrays returned does not fit the output of the model 'net'.\n"
        "  received: targets of shape scalar\n"
        "  expected: targets of shape 3\n"
        "  fix:      for numbers of classes use the loss sparse_categorical_crossentropy, or labels: one_hot",
    ),
    "no such plan": (
        ("mine:good", *FROM_MODULE, "--plan", "plan.yaml"),
        "there is no plan file 'plan.yaml'.\n"
        "  fix:      the folder '.' has phases.yaml, none.yaml, head.yaml",
    ),
    "plan of another model": (
        ("mine:good", *FROM_MODULE, "--plan", "none.yaml"),
        "rule 1 (train 'decoder/**') picks nothing in the model 'net'.\n"
        "  fix:      addresses here look like 'features/kernel', 'features/bias', 'head/kernel' (a rule that "
        "may pick nothing needs optional: true)",
    ),
    "no such phase": (
        ("mine:good", *FROM_MODULE, "--plan", "phases.yaml", "--phase", "finetun"),
        "the plan has no phase 'finetun'.\n"
        "  expected: one of probe, finetune\n"
        "  fix:      did you mean finetune?",
    ),
    "no phases": (
        ("mine:good", *FROM_MODULE, "--plan", "head.yaml", "--phase", "probe"),
        "there is no phase 'probe': no plan has phases.\n  fix:      leave --phase out",
    ),
    "config and data": (
        ("run.yaml", "--data", "data.npz"),
        "a run config names its own data, so --data has no place beside it.\n"
        "  received: --data data.npz\n"
        "  fix:      leave --data out, or give the model in place of the config",
    ),
    "no such config": (
        ("rn.yaml",),
        "there is no run file 'rn.yaml'.\n  fix:      the folder '.' has none.yaml, head.yaml, features.yaml",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_what_cannot_be_audited(run: Runner, case: str) -> None:
    made("good").save("good.keras")
    Path("broken.keras").write_bytes(Path("good.keras").read_bytes()[:100])
    words, message = MISUSE[case]
    assert run.fails("audit", *words) == message


def test_code_of_the_user_that_fails_is_named_with_its_line(run: Runner) -> None:
    line = line_of('raise ValueError("broken on purpose")')
    assert run.fails("audit", "mine:good", *FROM_MODULE, "--loss", "mine:broken") == (
        "the loss of the model 'net' cannot be computed on what mine:arrays returned.\n"
        f"  received: ValueError: broken on purpose (mine.py:{line})\n"
        "  fix:      see whether data and loss fit the model; model.evaluate(x, y) shows the whole error"
    )


def test_a_model_that_cannot_take_the_data_is_named_with_its_line(run: Runner) -> None:
    message = run.fails("audit", "mine:odd", *FROM_MODULE)
    assert message.startswith(
        "the loss of the model 'odd' cannot be computed on what mine:arrays returned.\n  received: "
    )
    assert f"(mine.py:{line_of('return ops.reshape(self.head(x), (7, -1))')})" in message


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "words", [("--severity", "fatal"), ("--samples", "0"), ("--samples", "few"), ("--sverity", "note"), ()]
)
def test_words_that_it_does_not_know(run: Runner, words: tuple[str, ...]) -> None:
    done = run("audit", *(("mine:good", *FROM_MODULE, *words) if words else ()))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: frostline audit ")
    assert "Traceback" not in done.err
