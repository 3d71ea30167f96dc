"""Tables, archives and splits, as a run config names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline.data.csv_table import load_csv
from frostline.data.npz import load_npz
from frostline.data.samples import Samples
from frostline.data.sources import CsvData, NpzData
from frostline.errors import DataError
from helpers.config_files import archive
from helpers.messages import error_text

# Tables -----------------------------------------------------------------------------------------------


def table(text: str | bytes, target: str | list[str] = "y", **more: Any) -> Samples:
    Path("t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_csv(Path("t.csv"), CsvData(csv="t.csv", target=target, **more))


def test_a_table_of_numbers(folder: Path) -> None:
    found = table("a,y,b\n1,10,2\n\n3,20,4.5e0\n")
    np.testing.assert_array_equal(found.x, np.array([[1, 2], [3, 4.5]], "float32"))
    np.testing.assert_array_equal(found.y, np.array([10, 20], "float32"))
    assert (found.x.dtype, found.y.dtype, found.classes) == ("float32", "float32", ())
    assert found.rows.tolist() == [2, 4]


def test_labels_become_numbers_in_sorted_order(folder: Path) -> None:
    found = table('a,y\n1,bee\n2,ant\n3,"cat, small"\n')
    assert (found.y.tolist(), found.classes) == ([1, 0, 2], ("ant", "bee", "cat, small"))
    assert found.y.dtype == "int32"


def test_labels_in_an_order_of_ones_own_and_one_hot(folder: Path) -> None:
    found = table("a,y\n1,2\n2,1\n", classes=["2", "1"], labels="one_hot")
    assert found.y.tolist() == [[1, 0], [0, 1]]


def test_columns_by_name(folder: Path) -> None:
    text = "\ufeffid;a;w;y;b\nn1;1;5;7;8\nn2;2;6;9;10\n"
    found = table(text, ["y", "b"], features=["a"], sample_weight="w", delimiter=";")
    assert (found.x.tolist(), found.y.tolist()) == ([[1], [2]], [[7, 8], [9, 10]])
    assert found.weight.tolist() == [5, 6]


BAD_TABLES = {
    "a ragged line": (
        'a,b,y\n1,2,3\n"x\ny",2\n',
        error_text(
            "'t.csv', line 4 has too few values",
            received="2 values: x\\ny, 2",
            expected="3 values: a, b, y",
        ),
    ),
    "a line too long": (
        "a,y\n1,2,3\n",
        error_text(
            "'t.csv', line 2 has too many values",
            received="3 values: 1, 2, 3",
            expected="2 values: a, y",
            fix="put text that holds the delimiter in double quotes",
        ),
    ),
    "a word among numbers": (
        "a,y\n1,2\nmany,3\n",
        error_text(
            "'t.csv', line 3: the column 'a' holds no finite number",
            received="'many'",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "an empty value": (
        "a,y\n1,2\n ,3\n",
        error_text(
            "'t.csv', line 3: the column 'a' holds no finite number",
            received="an empty value",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "not a number": (
        "a,y\n1,2\nnan,3\n",
        error_text(
            "'t.csv', line 3: the column 'a' holds no finite number",
            received="'nan'",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "a word among targets": (
        "a,y\n1,2\n2,high\n",
        error_text(
            "'t.csv', line 3: the column 'y' holds no finite number",
            received="'high'",
            fix="leave the line out, fill the value in, or name the columns to use under data: features:",
        ),
    ),
    "another delimiter": (
        "a;y\n1;2\n",
        error_text(
            "'t.csv' has no column 'y'",
            received="it has a;y",
            fix='say what stands between two values: delimiter: ";"',
        ),
    ),
    "a column twice": (
        "a,a,y\n1,2,3\n",
        error_text("'t.csv', line 1: the column 'a' stands twice", received="a, a, y"),
    ),
    "no samples": ("a,y\n", error_text("t.csv has no samples")),
    "nothing": (
        "",
        error_text("'t.csv' is empty", expected="a line of column names, then one line per sample"),
    ),
    "Latin-1": (b"a,y\n1,2\ncaf\xe9,3\n", error_text("'t.csv' is not text in UTF-8", received="byte 0xe9")),
    "an open quote": (
        'a,y\n1,"2\n',
        error_text(
            "'t.csv' is not a table of comma-separated values: "
            "line 2: a quote opens there and is never closed"
        ),
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_named_with_its_line(folder: Path, case: str) -> None:
    text, expected = BAD_TABLES[case]
    with pytest.raises(DataError) as caught:
        table(text)
    assert str(caught.value) == expected


def test_a_label_that_the_config_does_not_know(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        table("a,y\n1,ant\n2,be\n", classes=["ant", "bee"])
    assert str(caught.value) == error_text(
        "'t.csv', line 3: the column 'y' holds an unknown label",
        received="'be'",
        expected="one of ant, bee",
        fix="did you mean 'bee'?",
    )


# Archives ---------------------------------------------------------------------------------------------


def test_arrays_of_different_lengths(folder: Path) -> None:
    assert archive(x=np.zeros((4, 2)), y=np.zeros(3)) == error_text(
        "the arrays of bad.npz have different numbers of samples", received="x has 4, y has 3"
    )


def test_arrays_of_objects(folder: Path) -> None:
    assert archive(x=np.array([1, "a"], object), y=np.zeros(2)) == error_text(
        "the array 'x' of 'bad.npz' cannot be read",
        received="it holds Python objects, which are never unpickled",
        expected="an array of numbers",
        fix="save it with one type and one shape for all samples",
    )


def test_arrays_of_text(folder: Path) -> None:
    assert archive(x=np.array(["a", "b"]), y=np.zeros(2)) == error_text(
        "x of bad.npz holds no numbers", received="an array of <U1"
    )


def test_several_inputs_by_name(folder: Path) -> None:
    found = load_npz(Path("data.npz"), NpzData(npz="data.npz", x={"left": "x", "right": "ids"}))
    assert {name: value.shape for name, value in found.x.items()} == {"left": (4, 2), "right": (4, 3)}


# Splitting --------------------------------------------------------------------------------------------


def test_a_split_is_the_same_for_the_same_seed_and_loses_nothing() -> None:
    samples = Samples(x=np.arange(10), y=np.arange(10))
    train, held = samples.split(0.3, seed=1)
    again = samples.split(0.3, seed=1)
    assert (len(train), len(held)) == (7, 3)
    assert sorted([*train.x, *held.x]) == list(range(10))
    assert held.x.tolist() == again[1].x.tolist()
    assert held.x.tolist() != [7, 8, 9]
    assert samples.split(0.3, seed=2)[1].x.tolist() != held.x.tolist()


@pytest.mark.parametrize(("fraction", "held"), [(0.001, 1), (0.999, 9)])
def test_both_sides_of_a_split_keep_a_sample(fraction: float, held: int) -> None:
    assert len(Samples(x=np.arange(10)).split(fraction, seed=0)[1]) == held


def test_one_sample_cannot_be_split() -> None:
    with pytest.raises(DataError) as caught:
        Samples(x=np.arange(1), source="t.csv").split(0.5, seed=0)
    assert str(caught.value) == error_text(
        "t.csv has too few samples to hold some out for validation",
        received="1 in all",
        expected="at least 2",
    )
