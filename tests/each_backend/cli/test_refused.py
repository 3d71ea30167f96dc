"""Models and plans that no command can use: what `show`, `plan`, `init` and `verify` say of them."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from helpers.checks import first_on_each
from helpers.command_line import Runner

BACKEND = keras.backend.backend()


# Models -------------------------------------------------------------------------------------------

VERBS = (("show",), ("plan",), ("init", "--out", "new.yaml"), ("verify",))


def words_for(verb: tuple[str, ...], model: str) -> tuple[str, ...]:
    more = {"plan": (model, "plan.yaml"), "verify": ("receipt.json", "--before", model)}
    return (verb[0], *more.get(verb[0], (model,)), *verb[1:])


ARCHIVE = "a .keras file, or module:function"
MEND = "\n  fix:      "
UNKNOWN_CLASS = (
    "Keras cannot load '{0}.keras'.\n"
    "  received: the class '{1}', which nothing that was imported defines\n"
    "  fix:      name the module that defines it: --import my_layers, as the file says; it runs that "
    "module's code: only if you trust both"
)


@pytest.mark.parametrize("verb", first_on_each(VERBS), ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "bas.keras",
            f"there is no model 'bas.keras'.\n  expected: {ARCHIVE}"
            f"{MEND}the folder '.' has base.keras, bn.keras, plain.keras",
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
        "  fix:      did you mean jax?"
    )


def test_another_backend_than_the_one_that_runs(run: Runner) -> None:
    other = "torch" if BACKEND != "torch" else "jax"
    assert run.fails("show", "base.keras", "--backend", other) == (
        f"Keras already runs on {BACKEND}.\n"
        f"  received: the backend '{other}'\n"
        "  fix:      set KERAS_BACKEND before Python starts"
    )


def test_an_unknown_module_to_import(run: Runner, folder: Path) -> None:
    assert run.fails("show", "plain.keras", "--import", "my_layer") == (
        "there is no module 'my_layer'.\n"
        f"  received: looked in {folder} and in the installed packages\n"
        "  fix:      did you mean my_layers?"
    )


# Plans --------------------------------------------------------------------------------------------

KEYS = "frostline, default, batchnorm, stochastic, rules, phases"


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            "misspelt.yaml",
            "rule 2 (train 'a/kernl') picks nothing in the model 'two_layers'.\n"
            "  fix:      did you mean 'a/kernel', 'head/kernel'? "
            "(a rule that may pick nothing needs optional: true)",
        ),
        (
            "foreign.yaml",
            "none of the plan's 2 rules picks anything in the model 'two_layers': "
            "is it a plan for another model?\n"
            "  received: rule 1: train 'decoder/**'\n"
            "  fix:      addresses here look like 'a/kernel', 'a/bias', 'head/kernel' "
            "(a rule that may pick nothing needs optional: true)",
        ),
        (
            "twice.yaml",
            "twice.yaml, line 3: the key 'rules' stands twice.\n"
            "  received: first on line 2, again on line 3\n"
            "  fix:      keep one of them; several rules go into the list under 'rules:'",
        ),
        (
            "unknown.yaml",
            "unknown.yaml, line 2: unknown key 'rulse'.\n"
            f"  expected: one of {KEYS}\n  fix:      did you mean 'rules'?",
        ),
        (
            "typed.yaml",
            "typed.yaml, line 4: rule 1 lr has a wrong value.\n"
            "  received: 'fast' (text)\n  expected: a number",
        ),
        (
            "paln.json",
            "there is no plan file 'paln.json'.\n  fix:      the folder '.' has plan.json, receipt.json",
        ),
        (".", "the plan file '.' cannot be read: Is a directory."),
    ],
)
@pytest.mark.parametrize("as_json", first_on_each([False, True]))
def test_a_plan_that_does_not_fit(run: Runner, plan: str, message: str, as_json: bool) -> None:
    assert run.fails("plan", "base.keras", plan, *(["--json"] if as_json else [])) == message


def test_a_rule_for_statistics(run: Runner) -> None:
    assert run.fails("plan", "bn.keras", "statistics.yaml") == (
        "rule 1 (train 'bn/moving_*') picks only statistics, which no optimizer trains.\n"
        "  received: bn/moving_mean, bn/moving_variance\n"
        "  expected: weights made by add_weight(trainable=True)\n"
        "  fix:      to keep moving statistics moving in frozen layers, set batchnorm: update"
    )


def test_an_unknown_optimizer(run: Runner) -> None:
    assert run.fails("plan", "base.keras", "plan.yaml", "--optimizer", "adm") == (
        "Keras has no optimizer 'adm'.\n  fix:      did you mean adam, nadam, adamw?"
    )
    assert run.fails("plan", "base.keras", "plan.yaml", "--optimizer", "zzzz") == (
        "Keras has no optimizer 'zzzz'.\n  fix:      write adam, adamw, sgd, rmsprop or lion"
    )
