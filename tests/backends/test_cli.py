"""The command line: what it prints, how it ends, and what it says where it cannot run.

Each case runs in this process, in a folder of its own that holds models, plans and modules.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

import frostline as fl
from backends import small_models
from backends.command_line import Runner, at_work_in, contents

BACKEND = keras.backend.backend()

MODULES = {
    "my_models.py": """\
        import keras
        from keras import layers

        VERSION = "1"

        def good():
            stack = [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="head")]
            return keras.Sequential(stack, name="good")

        def unbuilt():
            return keras.Sequential([layers.Dense(3, name="a")], name="unbuilt")

        def failing():
            sizes = [4, 3]
            return layers.Dense(sizes[2])

        def number():
            return 3
        """,
    "my_layers.py": """\
        import keras

        @keras.saving.register_keras_serializable("mine")
        class Registered(keras.layers.Dense):
            pass

        class Plain(keras.layers.Dense):
            pass

        def doubled(x):
            return 2 * x
        """,
    "needs_more.py": "import not_installed_anywhere\n",
    "unfinished.py": "def model(:\n",
}
PLANS = {
    "plan.yaml": "frostline: 1\nrules:\n- train: 'head/**'\n  lr: 0.1\n",
    "plan.json": '{"frostline": 1, "rules": [{"train": "head/**", "lr": 0.1}]}',
    "misspelt.yaml": "frostline: 1\nrules:\n- train: 'head/**'\n- train: a/kernl\n",
    "foreign.yaml": "frostline: 1\nrules:\n- train: 'decoder/**'\n- freeze: 'encoder/**'\n",
    "optional.yaml": "frostline: 1\nrules:\n- {train: 'decoder/**', optional: true}\n",
    "statistics.yaml": "frostline: 1\nrules:\n- train: 'bn/moving_*'\n",
    "twice.yaml": "frostline: 1\nrules: []\nrules: []\n",
    "unknown.yaml": "frostline: 1\nrulse: []\n",
    "typed.yaml": "frostline: 1\nrules:\n- train: 'head/**'\n  lr: fast\n",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the cases need; each works on a copy."""
    folder = tmp_path_factory.mktemp("prepared")
    for name, text in MODULES.items():
        (folder / name).write_text(
            "\n".join(line[8:] if line[:8].isspace() else line for line in text.split("\n"))
        )
    for name, text in PLANS.items():
        (folder / name).write_text(text)

    base = small_models.compiled(two_layers(), "adam")
    base.save(folder / "base.keras")
    run = fl.fit(base, fl.Plan().train("head/**"), *small_models.data_for(base), verbose=0)
    base.save(folder / "tuned.keras")
    assert run.receipt is not None
    run.receipt.save(folder / "receipt.json")
    small_models.batch_norm().save(folder / "bn.keras")
    damaged_models(folder)
    models_of_other_code(folder)
    return folder


def two_layers() -> keras.Model:
    keras.utils.set_random_seed(small_models.SEED)
    dense = keras.layers.Dense
    stack = [
        keras.Input((small_models.INPUTS,)),
        dense(3, name="a"),
        dense(small_models.OUTPUTS, name="head"),
    ]
    return keras.Sequential(stack, name="two_layers")


def damaged_models(folder: Path) -> None:
    whole = (folder / "base.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (folder / "old.h5").write_bytes(b"\x89HDF")
    (folder / "notes.txt").write_text("")
    with zipfile.ZipFile(folder / "base.keras") as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(folder / "lacking.keras", "w") as archive:
        archive.writestr("config.json", config)


def models_of_other_code(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, at_work_in(folder, patch):
        sys.path.insert(0, str(folder))
        import my_layers

        for kind in ("Registered", "Plain"):
            layer = getattr(my_layers, kind)(2, activation=my_layers.doubled, name="head")
            keras.Sequential([keras.Input((4,)), layer], name="custom").save(folder / f"{kind.lower()}.keras")
        function = keras.layers.Lambda(lambda x: 2 * x, output_shape=(4,), name="twice")
        head = keras.layers.Dense(2, name="head")
        keras.Sequential([keras.Input((4,)), function, head], name="python").save(folder / "lambda.keras")


@pytest.fixture(autouse=True)
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run each case in a copy of the folder, and forget what it imported."""
    here = tmp_path / "here"
    shutil.copytree(prepared, here, ignore=shutil.ignore_patterns("__pycache__"))
    with at_work_in(here, monkeypatch):
        yield here


# show -----------------------------------------------------------------------------------------------


def test_show(run: Runner) -> None:
    done = run("show", "base.keras")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        "two_layers",
        "layer  type   weights       elements  flagged to train",
        "a      Dense  kernel, bias        15  2 of 2",
        "head   Dense  kernel, bias         8  2 of 2",
        "",
        "two_layers: 4 weights, 23 elements, 92 B; Keras would train 23 of them now",
        "addresses of the weights: --full",
    ]


def test_show_full(run: Runner) -> None:
    assert run("show", "bn.keras", "--full").lines[1:6] == [
        "address             shape  elements  dtype    role       Keras's flag",
        "a/kernel            4 x 3        12  float32  weight     trains",
        "a/bias              3             3  float32  weight     trains",
        "bn/gamma            3             3  float32  weight     trains",
        "bn/beta             3             3  float32  weight     trains",
    ]


def test_show_json(run: Runner) -> None:
    data = run("show", "bn.keras", "--json").data
    assert (data["frostline"], data["model"]) == (1, "batch_norm")
    assert [w["address"] for w in data["weights"]] == [
        w.address for w in fl.inventory(small_models.batch_norm()).of_role("weight", "statistic")
    ]
    assert data["weights"][4] == {
        "address": "bn/moving_mean",
        "aliases": [],
        "role": "statistic",
        "shape": [3],
        "dtype": "float32",
        "elements": 3,
        "flag": False,
    }


def test_a_function_instead_of_a_file(run: Runner) -> None:
    assert run("show", "my_models:good").lines[0] == "good"


@pytest.mark.parametrize("name", ["Registered", "Plain"])
def test_classes_of_other_modules(run: Runner, name: str) -> None:
    done = run("show", f"{name.lower()}.keras", "--import", "my_layers")
    assert done.code == 0
    assert done.lines[2].split() == ["head", name, "kernel,", "bias", "10", "2", "of", "2"]


def test_python_code_in_a_file(run: Runner) -> None:
    done = run("show", "lambda.keras", "--unsafe")
    assert done.code == 0
    assert done.lines[0] == "python"


# plan -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["plan.yaml", "plan.json"])
def test_plan(run: Runner, plan: str) -> None:
    done = run("plan", "base.keras", plan, "--optimizer", "adam")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        "Plan for two_layers",
        "weights  shape      elements  status  why",
        "a/**     2 weights        15  frozen  default: freeze",
        "head/**  2 weights         8  trains  rule 1: train 'head/**' (lr x 0.1)",
        "",
        "trains 8 of 23 elements (35%), in 2 of 4 weights",
        "run in inference mode: a (1 layer in all)",
        "optimizer memory (Adam): 64 B, against 184 B if all trained",
    ]


def test_plan_full(run: Runner) -> None:
    assert run("plan", "base.keras", "plan.yaml", "--full").lines[2:6] == [
        "a/kernel     4 x 3        12  frozen  default: freeze",
        "a/bias       3             3  frozen  default: freeze",
        "head/kernel  3 x 2         6  trains  rule 1: train 'head/**' (lr x 0.1)",
        "head/bias    2             2  trains  rule 1: train 'head/**' (lr x 0.1)",
    ]


def test_plan_json(run: Runner) -> None:
    data = run("plan", "base.keras", "plan.yaml", "--json").data
    assert {key: data[key] for key in data if key != "weights"} == {
        "frostline": 1,
        "model": "two_layers",
        "plan": ["train 'head/**' (lr x 0.1)"],
        "default": "freeze",
        "trained_elements": 8,
        "frozen_elements": 15,
        "inference": ["a"],
        "notes": [],
    }
    assert data["weights"][2] == {
        "address": "head/kernel",
        "role": "weight",
        "shape": [3, 2],
        "dtype": "float32",
        "status": "trains",
        "rule": 1,
        "why": "rule 1: train 'head/**' (lr x 0.1)",
        "lr": 0.1,
        "decay": 1.0,
    }


def test_a_plan_that_trains_nothing_says_so(run: Runner) -> None:
    done = run("plan", "base.keras", "optional.yaml")
    assert done.code == 0
    assert done.lines[-3:-1] == [
        "trains 0 of 23 elements (0%), in 0 of 4 weights",
        "run in inference mode: the whole model (3 layers in all)",
    ]


# init -----------------------------------------------------------------------------------------------

NAMES = ('head[0] "x"', "a\\b{1}", "größe*", "50%: all")


def odd_names() -> keras.Model:
    stack = [keras.layers.Dense(2, name=name) for name in ("block_1!?", *NAMES)]
    return keras.Sequential([keras.Input((2,)), *stack], name="odd {names}")


def blocks() -> keras.Model:
    names = ("block_1", "block_2", "block_[3]", "head")
    stack = [keras.layers.Dense(2, use_bias=False, name=name) for name in names]
    return keras.Sequential([keras.Input((2,)), *stack], name="blocks")


def one_layer() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="only")], name="one_layer")


def odd_layers() -> keras.Model:
    stack = [keras.layers.Dense(2, name=name) for name in reversed(NAMES)]
    return keras.Sequential([keras.Input((2,)), *stack], name="odd_layers")


BUILDERS = (
    small_models.two_dense,
    small_models.sequential,
    small_models.batch_norm,
    small_models.nested_dropout,
    small_models.custom_block,
    small_models.subclassed,
    small_models.attention,
    blocks,
    one_layer,
    odd_names,
    odd_layers,
)


def uncommented(text: str) -> list[str]:
    """The plan file with each of its commented rules once, then with all of them."""
    lines = text.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("  # - ")]
    ends = [
        next((m for m in range(n + 1, len(lines)) if not lines[m].startswith("  #   ")), len(lines))
        for n in starts
    ]
    wanted = [range(start, end) for start, end in zip(starts, ends, strict=True)]
    sets = [set(one) for one in wanted] + [set().union(*wanted)]
    return [
        "\n".join(f"  {line[4:]}" if n in chosen else line for n, line in enumerate(lines)) for chosen in sets
    ]


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_init_writes_a_plan_that_resolves_with_each_commented_rule(
    run: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch, build: Any
) -> None:
    model = build()
    monkeypatch.setattr("frostline.cli.options.load", lambda *_, **__: model)
    done = run("init", "model.keras", "--out", "starter.yaml")
    assert (done.code, done.out) == (0, "")
    assert (
        done.err == "wrote starter.yaml; see what it trains with: frostline plan model.keras starter.yaml\n"
    )
    plan = fl.Plan.load("starter.yaml")
    trained = {d.weight.address for d in plan.resolve(model).trained}
    assert trained == {d.weight.address for d in fl.linear_probe().resolve(model).trained}
    versions = uncommented(Path("starter.yaml").read_text(encoding="utf-8"))
    for number, text in enumerate(versions):
        path = folder / f"uncommented_{number}.yaml"
        path.write_text(text, encoding="utf-8")
        more = fl.Plan.load(path)
        assert len(more.rules) == len(plan.rules) + (1 if number < len(versions) - 1 else number)
        assert {d.weight.address for d in more.resolve(model).trained} >= trained


def test_init_prints_on_request(run: Runner, folder: Path) -> None:
    before = contents(folder)
    done = run("init", "base.keras", "--out", "-")
    assert (done.code, done.err) == (0, "")
    assert contents(folder) == before
    assert done.out.endswith(
        "rules:\n"
        "  # The head: 2 weights, 8 elements.\n"
        '  - train: "head/**"\n'
        "\n"
        "  # The layer before it too, at a tenth of the learning rate:\n"
        '  # - train: "a/**"\n'
        "  #   lr: 0.1\n"
        "\n"
        "  # Every bias too (BitFit):\n"
        '  # - train: "**/bias"\n'
    )


def test_init_overwrites_on_request_only(run: Runner, folder: Path) -> None:
    assert run.fails("init", "base.keras") == (
        "'plan.yaml' exists already.\n  to mend:  name another file with --out, or add --force"
    )
    assert run("init", "base.keras", "--force").code == 0
    assert fl.Plan.load(folder / "plan.yaml") == fl.Plan().train("head/**")


# verify ---------------------------------------------------------------------------------------------


def test_verify(run: Runner) -> None:
    done = run("verify", "receipt.json", "--before", "base.keras", "--after", "tuned.keras")
    assert done.code == 0
    assert done.lines[2:6] == [
        "count  outcome  meaning                                     variables",
        "    2  intact   frozen, every bit as before                 a/kernel, a/bias",
        "    2  trained  planned to train, and moved                 head/kernel, head/bias",
        "    2  state    random-seed or metric state, never trained  metrics/loss/total, metrics/loss/count",
    ]
    assert done.lines[-1] == "verified: every frozen number is bit-identical"
    assert done.err == "holds: checked the receipt itself and the model before and the model after training\n"


def test_verify_the_receipt_alone(run: Runner) -> None:
    done = run("verify", "receipt.json")
    assert done.code == 0
    assert done.err == (
        "holds: checked the receipt itself\nto check the models too: --before BASE --after TUNED\n"
    )


def test_verify_json(run: Runner) -> None:
    data = run("verify", "receipt.json", "--after", "tuned.keras", "--json").data
    assert (data["frostline"], data["ok"], data["checked"], data["problems"]) == (
        1,
        True,
        ["receipt", "after"],
        [],
    )
    assert data["verification"]["counts"]["intact"] == 2


def test_verify_against_the_wrong_models(run: Runner) -> None:
    done = run("verify", "receipt.json", "--before", "tuned.keras", "--after", "bn.keras")
    assert done.code == 1
    assert done.err.splitlines() == [
        "problem: the model before training has other values than the receipt says in 2 variables: "
        "head/kernel, head/bias",
        "problem: the model after training lacks head/kernel, head/bias",
        "problem: the model after training has bn/gamma, bn/beta, bn/moving_mean, bn/moving_variance, "
        "b/kernel and 1 more, which the receipt does not know",
        "FAILED: checked the receipt itself and the model before and the model after training",
    ]
    data = run("verify", "receipt.json", "--before", "tuned.keras", "--json")
    assert data.code == 1
    assert data.data["ok"] is False
    assert len(data.data["problems"]) == 1


def test_verify_a_receipt_that_speaks_against_itself(run: Runner) -> None:
    held = fl.Receipt.load("receipt.json")
    fl.Receipt(**{**vars(held), "trained": ("head/kernel",)}).save("receipt.json")
    done = run("verify", "receipt.json")
    assert done.code == 1
    assert done.lines[-1] == "NOT verified: frozen numbers changed"
    assert done.err.splitlines()[0] == ("problem: by the receipt itself, head/bias changed, which was frozen")


def test_init_into_a_read_only_folder(run: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, whom no folder stops: the system's answer is played.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    before = sorted(folder.iterdir())
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert run.fails("init", "base.keras", "--out", "new.yaml") == (
        "cannot write 'new.yaml': Permission denied.\n"
        "  expected: a folder that exists and that you may write to\n"
        "  to mend:  name another output file"
    )
    assert sorted(folder.iterdir()) == before


def test_verify_holds_what_trained_against_the_plan(run: Runner) -> None:
    held = fl.Receipt.load("receipt.json")
    after = dict(held.after.digests)
    after["a/kernel"] = dataclasses.replace(after["a/kernel"], blake3="0" * 64)
    forged = {"trained": (*held.trained, "a/kernel"), "after": fl.Fingerprint(after)}
    fl.Receipt(**{**vars(held), **forged}).save("receipt.json")
    assert run("verify", "receipt.json").code == 0
    done = run("verify", "receipt.json", "--before", "base.keras")
    assert done.code == 1
    assert done.err.splitlines()[0] == "problem: by the plan in the receipt, a/kernel had to stay fixed"


# What cannot run: models ------------------------------------------------------------------------------

VERBS = (("show",), ("plan",), ("init", "--out", "new.yaml"), ("verify",))


def words_for(verb: tuple[str, ...], model: str) -> tuple[str, ...]:
    more = {"plan": (model, "plan.yaml"), "verify": ("receipt.json", "--before", model)}
    return (verb[0], *more.get(verb[0], (model,)), *verb[1:])


ARCHIVE = "a .keras file, or module:function"
MEND = "\n  to mend:  "
UNKNOWN_CLASS = (
    "Keras cannot load '{0}.keras'.\n"
    "  received: the class '{1}', which nothing that was imported defines\n"
    "  to mend:  name the module that defines it: --import my_layers"
)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "bas.keras",
            f"there is no model 'bas.keras'.\n  expected: {ARCHIVE}"
            f"{MEND}in '.' there is base.keras, bn.keras, plain.keras",
        ),
        ("nowhere/base.keras", f"there is no model 'nowhere/base.keras'.\n  expected: {ARCHIVE}"),
        (
            "cut.keras",
            "'cut.keras' is truncated or damaged: File is not a zip file.\n"
            "  received: {cut:,} bytes\n  expected: a whole .keras archive"
            f"{MEND}copy or save the model again",
        ),
        (
            "lacking.keras",
            "'lacking.keras' is not a whole .keras archive.\n  received: no model.weights.h5 in it"
            f"{MEND}copy or save the model again",
        ),
        (
            "old.h5",
            "'old.h5' is not a .keras file.\n"
            "  expected: a file that model.save('name.keras') wrote, or module:function"
            f"{MEND}load it in Python and save it as .keras",
        ),
        (
            "notes.txt",
            "'notes.txt' is not a .keras file.\n"
            "  expected: a file that model.save('name.keras') wrote, or module:function",
        ),
        (
            "my_model:good",
            "there is no module 'my_model'.\n"
            "  received: looked in {here} and in the installed packages"
            f"{MEND}did you mean my_models?",
        ),
        (
            "needs_more:model",
            "the module 'needs_more' cannot be imported.\n"
            "  received: ModuleNotFoundError: No module named 'not_installed_anywhere' "
            "({here}/needs_more.py, line 1)",
        ),
        (
            "unfinished:model",
            "the module 'unfinished' cannot be imported.\n"
            "  received: SyntaxError: invalid syntax (unfinished.py, line 1)",
        ),
        (
            "my_models:godo",
            f"the module 'my_models' has no function 'godo'.{MEND}did you mean my_models:good?",
        ),
        ("my_models:VERSION", "the module 'my_models' has no function 'VERSION'."),
        ("my_models:", f"'my_models:' names no function.\n  expected: {ARCHIVE}"),
        (
            "my_models:failing",
            "my_models:failing failed.\n"
            "  received: IndexError: list index out of range ({here}/my_models.py, line 15)",
        ),
        (
            "my_models:number",
            "my_models:number did not return a Keras model.\n"
            "  received: an object of type int\n  expected: a built keras.Model",
        ),
        (
            "my_models:unbuilt",
            "the model 'unbuilt' is not built, so its weights do not exist yet.\n"
            "  received: 2 unbuilt layers: unbuilt, a\n"
            "  expected: a model that knows the shape of its input"
            f"{MEND}call model.build(input_shape), or call it once on a batch: model(x[:1])",
        ),
        ("registered.keras", UNKNOWN_CLASS.format("registered", "Registered")),
        ("plain.keras", UNKNOWN_CLASS.format("plain", "Plain")),
        (
            "lambda.keras",
            "Keras cannot load 'lambda.keras'.\n"
            "  received: ValueError: Requested the deserialization of a `Lambda` layer whose `function` is a "
            f"Python lambda{MEND}it contains Python code: if you trust it, add --unsafe",
        ),
    ],
)
def test_a_model_that_cannot_be_had(
    run: Runner, folder: Path, verb: tuple[str, ...], model: str, message: str
) -> None:
    cut = (folder / "cut.keras").stat().st_size
    text = message if "{" not in message else message.format(here=folder, cut=cut)
    assert run.fails(*words_for(verb, model)) == text


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_an_unknown_backend(run: Runner, verb: tuple[str, ...]) -> None:
    assert run.fails(*words_for(verb, "base.keras"), "--backend", "jaxx") == (
        "Keras has no backend 'jaxx'.\n"
        "  expected: one of jax, torch, tensorflow\n"
        "  to mend:  did you mean jax?"
    )


def test_another_backend_than_the_one_that_runs(run: Runner) -> None:
    other = "torch" if BACKEND != "torch" else "jax"
    assert run.fails("show", "base.keras", "--backend", other) == (
        f"Keras already runs on {BACKEND}.\n"
        f"  received: the backend '{other}'\n"
        "  to mend:  set KERAS_BACKEND before Python starts"
    )


def test_an_unknown_module_to_import(run: Runner, folder: Path) -> None:
    assert run.fails("show", "plain.keras", "--import", "my_layer") == (
        "there is no module 'my_layer'.\n"
        f"  received: looked in {folder} and in the installed packages\n"
        "  to mend:  did you mean my_layers?"
    )


# What cannot run: plans -------------------------------------------------------------------------------

KEYS = "frostline, default, batchnorm, stochastic, rules, phases"


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            "misspelt.yaml",
            "rule 2 (train 'a/kernl') picks nothing in the model 'two_layers'.\n"
            "  to mend:  did you mean 'a/kernel', 'head/kernel'? "
            "(a rule that may pick nothing needs optional: true)",
        ),
        (
            "foreign.yaml",
            "none of the plan's 2 rules picks anything in the model 'two_layers': "
            "is it a plan for another model?\n"
            "  received: rule 1: train 'decoder/**'\n"
            "  to mend:  addresses here look like 'a/kernel', 'a/bias', 'head/kernel' "
            "(a rule that may pick nothing needs optional: true)",
        ),
        (
            "twice.yaml",
            "twice.yaml, line 3: the key 'rules' stands twice.\n"
            "  received: first on line 2, again on line 3\n"
            "  to mend:  keep one of them; several rules go into the list under 'rules:'",
        ),
        (
            "unknown.yaml",
            "unknown.yaml, line 2: unknown key 'rulse'.\n"
            f"  expected: one of {KEYS}\n  to mend:  did you mean 'rules'?",
        ),
        (
            "typed.yaml",
            "typed.yaml, line 4: rule 1 lr has a wrong value.\n"
            "  received: 'fast' (text)\n  expected: a number",
        ),
        (
            "paln.json",
            "there is no plan file 'paln.json'.\n  to mend:  in '.' there are: plan.json, receipt.json",
        ),
        (".", "the plan file '.' cannot be read: Is a directory."),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_plan_that_does_not_fit(run: Runner, plan: str, message: str, as_json: bool) -> None:
    assert run.fails("plan", "base.keras", plan, *(["--json"] if as_json else [])) == message


def test_a_rule_for_statistics(run: Runner) -> None:
    assert run.fails("plan", "bn.keras", "statistics.yaml") == (
        "rule 1 (train 'bn/moving_*') picks only statistics, which no optimizer trains.\n"
        "  received: bn/moving_mean, bn/moving_variance\n"
        "  expected: weights made by add_weight(trainable=True)\n"
        "  to mend:  to keep moving statistics moving in frozen layers, set batchnorm: update"
    )


def test_an_unknown_optimizer(run: Runner) -> None:
    assert run.fails("plan", "base.keras", "plan.yaml", "--optimizer", "adm") == (
        "Keras has no optimizer 'adm'.\n  to mend:  did you mean adam, nadam, adamw?"
    )
    assert run.fails("plan", "base.keras", "plan.yaml", "--optimizer", "zzzz") == (
        "Keras has no optimizer 'zzzz'.\n  to mend:  write adam, adamw, sgd, rmsprop or lion"
    )


# What cannot run: outputs and receipts ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "why"),
    [("plan.yaml/new.yaml", "Not a directory"), ("nowhere/new.yaml", "No such file or directory")],
)
def test_an_output_that_cannot_be_written(run: Runner, out: str, why: str) -> None:
    assert run.fails("init", "base.keras", "--out", out) == (
        f"cannot write '{out}': {why}.\n"
        "  expected: a folder that exists and that you may write to\n"
        "  to mend:  name another output file"
    )


def test_an_altered_receipt(run: Runner, folder: Path) -> None:
    path = folder / "receipt.json"
    path.write_text(path.read_text().replace('"two_layers"', '"three_layers"'))
    assert run.fails("verify", "receipt.json").splitlines()[0] == (
        "the receipt 'receipt.json' was altered after it was written."
    )


@pytest.mark.parametrize("name", ["plan.json", "base.keras"])
def test_no_receipt(run: Runner, name: str) -> None:
    message = run.fails("verify", name)
    if name == "plan.json":
        assert message == (
            "'plan.json' is not a receipt that this version of Frostline reads.\n"
            "  received: no key 'frostline_receipt' with the value 1\n"
            "  expected: the JSON that Receipt.save writes, version 1"
        )
    else:
        assert message.startswith("the receipt 'base.keras' is not text in UTF-8.\n  received: byte 0x")


def test_a_missing_receipt(run: Runner) -> None:
    assert run.fails("verify", "reciept.json") == (
        "there is no receipt 'reciept.json'.\n  to mend:  in '.' there are: plan.json, receipt.json"
    )


# The command itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("shw", "base.keras"), ("show",), ("show", "base.keras", "--ful"), ("plan", "base.keras")]
)
def test_words_that_it_does_not_know(run: Runner, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: frostline")


def frostline(*words: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("frostline")
    return subprocess.run([command, *words], capture_output=True, text=True, check=False)


def test_the_installed_command(folder: Path) -> None:
    done = frostline("plan", "base.keras", "plan.yaml", "--backend", BACKEND, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["trained_elements"] == 8
    done = frostline("show", "nowhere.keras")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no model 'nowhere.keras'.\n")
