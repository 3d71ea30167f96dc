"""`frostline fit` on data that it could take for something else: refused with code 2, or said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.command_line import Runner
from helpers.run_configs import SOURCES, write


def arrays(x: Any, y: Any | None = None) -> dict[str, Any]:
    np.savez("odd.npz", x=x, y=np.arange(len(x)) % 3 if y is None else y)
    return {"data": {"npz": "odd.npz"}, "epochs": 1}


ODD_ARRAYS: dict[str, tuple[Any, str]] = {
    "too large": (np.full((8, 4), 1e39), "x holds a number that does not fit float32"),
    "one too large": (np.concatenate([np.ones((8, 4)), [[1, 2, 3, -1e300]]]), "sample 8: x holds a number"),
    "objects": (np.full((8, 4), None), "cannot be read"),
    "text": (np.full((8, 4), "1"), "holds no numbers"),
    "complex": (np.full((8, 4), 1j), "holds no numbers"),
}


@pytest.mark.parametrize("case", ODD_ARRAYS)
def test_arrays_that_become_other_numbers(run: Runner, case: str) -> None:
    x, said = ODD_ARRAYS[case]
    write(**arrays(x))
    done = run("fit", "run.yaml")
    assert (done.code, said in done.err) == (2, True), done.err
    assert not Path("out").exists()


def test_arrays_of_another_byte_order_are_read(run: Runner) -> None:
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(">f4")
    write(**arrays(x, (np.arange(8) % 3).astype(">i8")))
    assert run("fit", "run.yaml").code == 0


def test_what_is_assumed_of_a_table_is_said(run: Runner) -> None:
    write(**SOURCES["csv"])
    done = run("fit", "run.yaml")
    assert done.code == 0
    said = "read as line 1 has the names of the columns; target kind, read as labels (ant, bee, cat); "
    assert f"{said}features p, q, r, s" in [" ".join(line.split()) for line in done.lines]


def test_a_table_without_names(run: Runner) -> None:
    lines = Path("table.csv").read_text().splitlines()[1:]
    Path("bare.csv").write_text("\n".join(lines) + "\n")
    write(**SOURCES["csv"] | {"data": {"csv": "bare.csv", "target": lines[0].split(",")[-1]}})
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert "line 1: this looks like a sample" in done.err
    write(**SOURCES["csv"] | {"data": {"csv": "bare.csv", "target": "5", "header": False}})
    done = run("fit", "run.yaml")
    assert done.code == 0
    assert any("30 samples" in line for line in done.lines)  # of 40, none of them lost


def test_the_columns_of_a_second_table_are_found_by_name(run: Runner) -> None:
    lines = [line.split(",") for line in Path("table.csv").read_text().splitlines()]
    order = [4, 3, 1, 0, 2]
    Path("other.csv").write_text("\n".join(",".join(row[n] for n in order) for row in lines) + "\n")
    losses = []
    for name in ("table.csv", "other.csv"):
        write(**SOURCES["csv"] | {"validation": {"csv": name}, "output": name[:-4]})
        assert run("fit", "run.yaml").code == 0
        losses.append((Path(name[:-4]) / "history.csv").read_text().splitlines()[-1].split(","))
    head = (Path("table") / "history.csv").read_text().splitlines()[0].split(",")
    place = head.index("val_loss")
    assert losses[0][place] == losses[1][place]


def test_parts_of_a_data_set_are_not_trained_as_classes(run: Runner) -> None:
    shutil.copytree("images", "set/train")
    Path("set", "test", "dark").mkdir(parents=True)
    write(**SOURCES["images"] | {"data": {"images": "set"}})
    done = run("fit", "run.yaml")
    assert done.code == 2
    assert "has a folder for each part of a data set, not for each class" in done.err
