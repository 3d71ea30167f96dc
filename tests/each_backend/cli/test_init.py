"""`frostline init`: the plans that it writes, and where it writes none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import pytest

import frostline as fl
from helpers import small_models
from helpers.checks import first_on_each
from helpers.command_line import Runner, contents

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


@pytest.mark.parametrize("build", first_on_each(BUILDERS), ids=lambda build: build.__name__)
def test_init_writes_a_plan_that_resolves_with_each_commented_rule(
    run: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch, build: Any
) -> None:
    model = build()
    monkeypatch.setattr("frostline.cli.options.Loading.load", lambda *_, **__: model)
    done = run("init", "model.keras", "--out", "starter.yaml")
    assert (done.code, done.out) == (0, "")
    assert done.err == "wrote starter.yaml; preview it: frostline plan model.keras starter.yaml\n"
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
        "'plan.yaml' exists already.\n  fix:      name another file with --out, or add --force"
    )
    assert run("init", "base.keras", "--force").code == 0
    assert fl.Plan.load(folder / "plan.yaml") == fl.Plan().train("head/**")


def test_init_into_a_read_only_folder(run: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, whom no folder stops: the system's answer is played.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    before = sorted(folder.iterdir())
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert run.fails("init", "base.keras", "--out", "new.yaml") == (
        "cannot write 'new.yaml': Permission denied.\n"
        "  expected: a folder that exists and that you may write to\n"
        "  fix:      name another output file"
    )
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("out", "why"),
    [("plan.yaml/new.yaml", "Not a directory"), ("nowhere/new.yaml", "No such file or directory")],
)
def test_an_output_that_cannot_be_written(run: Runner, out: str, why: str) -> None:
    assert run.fails("init", "base.keras", "--out", out) == (
        f"cannot write '{out}': {why}.\n"
        "  expected: a folder that exists and that you may write to\n"
        "  fix:      name another output file"
    )
