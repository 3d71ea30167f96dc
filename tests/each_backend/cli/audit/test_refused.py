"""`frostline audit`: models, data and plans that it cannot look at, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.audit_folder import (
    FROM_MODULE,
    line_of,
    made,
)
from helpers.command_line import Runner

KINDS = "  expected: a .npz or .csv file, a folder of images by class, or module:function"


MISUSE: dict[str, tuple[tuple[str, ...], str]] = {
    "no data": (
        ("mine:good",),
        "computing gradients needs data.\n"
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
        f"unsupported file type: 'mine.py'.\n{KINDS}",
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
        "  fix:      give the last layer 4 units, or correct the targets",
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
        "  fix:      for class numbers use the loss sparse_categorical_crossentropy, or labels: one_hot",
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
        "--data cannot be combined with a run config, which names its own data.\n"
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
        "  fix:      see whether data and loss fit the model; model.evaluate(x, y) shows the full error"
    )


@pytest.mark.every_backend
def test_a_model_that_cannot_take_the_data_is_named_with_its_line(run: Runner) -> None:
    message = run.fails("audit", "mine:odd", *FROM_MODULE)
    assert message.startswith(
        "the loss of the model 'odd' cannot be computed on what mine:arrays returned.\n  received: "
    )
    assert f"(mine.py:{line_of('return ops.reshape(self.head(x), (7, -1))')})" in message


@pytest.mark.parametrize(
    "words", [("--severity", "fatal"), ("--samples", "0"), ("--samples", "few"), ("--sverity", "note"), ()]
)
def test_words_that_it_does_not_know(run: Runner, words: tuple[str, ...]) -> None:
    done = run("audit", *(("mine:good", *FROM_MODULE, *words) if words else ()))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: frostline audit ")
    assert "Traceback" not in done.err
