"""Tables that would be read as something else than what they hold: read right, said, or refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline.data.csv_table import load_csv
from frostline.data.ranges import misfit, most_exact
from frostline.data.samples import Samples
from frostline.data.sources import CsvData
from frostline.errors import DataError


def table(text: str | bytes, target: str = "y", dtype: str = "float32", **more: Any) -> Samples:
    Path("t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_csv(Path("t.csv"), CsvData(csv="t.csv", target=target, **more), dtype=dtype)


def refusal(text: str | bytes, target: str = "y", dtype: str = "float32", **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        table(text, target, dtype, **more)
    return str(caught.value)


# A line of names, or none -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("5.1,3.5,0\n4.9,3.0,1\n", "0"),
        ("5.1,cat\n4.9,dog\n", "cat"),
        ("1,1,1\n2,2,2\n", "1"),
        ("-1e3,b\n2,c\n", "b"),
    ],
)
def test_a_first_line_that_looks_like_a_sample_is_refused(folder: Path, text: str, target: str) -> None:
    said = refusal(text, target)
    assert "'t.csv', line 1: this looks like a sample, and not like the names of columns" in said
    assert "add header: false" in said
    assert "add header: true" in said


def test_whoever_says_so_keeps_the_first_sample(folder: Path) -> None:
    found = table("5.1,3.5,0\n4.9,3.0,1\n", "3", header=False)
    np.testing.assert_array_equal(found.x, np.array([[5.1, 3.5], [4.9, 3.0]], "float32"))
    assert (found.y.tolist(), found.rows.tolist()) == ([0, 1], [1, 2])
    assert found.about == (
        "line 1 is a sample, as header: false says; target 3, read as numbers; features 1, 2",
    )


def test_names_that_are_numbers_are_names_where_that_is_said(folder: Path) -> None:
    found = table("y,2019,2020\n1,2,3\n", header=True)
    assert found.x.tolist() == [[2, 3]]
    assert found.about == (
        "line 1 has the names of the columns; target y, read as numbers; features 2019, 2020",
    )


def test_what_is_assumed_is_said(folder: Path) -> None:
    assert table("a,y\n1,cat \n2,dog\n").about == (
        "line 1 has the names of the columns; target y, read as labels (cat, dog); features a",
    )


def test_row_numbers_of_pandas_are_no_feature(folder: Path) -> None:
    text = ",a,y\n0,5,1\n1,6,2\n"
    said = refusal(text)
    assert "column 1 has no name" in said
    assert "index=False" in said
    assert table(text, features=["a"]).x.tolist() == [[5], [6]]


# Encodings --------------------------------------------------------------------------------------------


def test_a_mark_is_no_part_of_the_first_name(folder: Path) -> None:
    assert table("\ufeffa,y\n1,2\n", features=["a"]).x.tolist() == [[1]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_another_encoding_is_refused(folder: Path, encoding: str) -> None:
    said = refusal("a,y\n1,2\n".encode(encoding))
    assert "'t.csv' is not text in UTF-8" in said
    assert "save it again as UTF-8" in said


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u2060"])
def test_labels_that_look_the_same_are_refused(folder: Path, mark: str) -> None:
    said = refusal(f"a,y\n1,cat\n2,{mark}cat\n3,dog\n")
    assert "has labels that look the same and are not" in said
    assert f"\\u{ord(mark):04x}" in said
    assert "invisible characters" in refusal(
        f"{mark}a,y\n1,2\n" if mark != "\ufeff" else f"b,{mark}a,y\n1,1,2\n"
    )


def test_a_label_of_its_own_with_invisible_characters_is_refused(folder: Path) -> None:
    said = refusal("a,y\n1,\u200bcat\n2,dog\n")
    assert "the column 'y' has labels with invisible characters" in said
    assert "look the same" not in said


@pytest.mark.parametrize(
    ("rows", "said"), [(3, "is never closed"), (40_000, "of more than 131,072 characters")]
)
def test_the_line_where_a_quote_opens_is_named(folder: Path, rows: int, said: str) -> None:
    message = refusal('a,y\n1,cat\n2,"dog\n' + "3,cat\n" * rows)
    assert "line 3: " in message
    assert said in message


def test_a_label_written_in_two_ways_is_refused(folder: Path) -> None:
    assert "look the same" in refusal("a,y\n1,caf\u00e9\n2,cafe\u0301\n")


def test_labels_with_blanks_are_one(folder: Path) -> None:
    assert table("a,y\n1,cat\n2, cat \n3,dog\u00a0\n").classes == ("cat", "dog")


# Numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ['"1,5"', '"1,234"', "1'234", "1 234", "1_000", "１２", "1\u00a0234", "12%", "0x1F", "--1"]
)
def test_what_is_no_plain_number_is_refused(folder: Path, number: str) -> None:
    assert "line 3: the column 'a' holds no finite number" in refusal(f"a,y\n1,2\n{number},3\n")


def test_a_decimal_comma_is_named(folder: Path) -> None:
    assert "write numbers with a point" in refusal("a;y\n1,5;2\n", delimiter=";")


@pytest.mark.parametrize(
    ("number", "dtype"),
    [("1e39", "float32"), ("70000", "float16"), ("3e9", "int32"), ("1.5", "int32"), ("-1", "uint8")],
)
def test_a_number_that_the_model_cannot_hold_is_refused(folder: Path, number: str, dtype: str) -> None:
    said = refusal(f"a,b,y\n1,2,0\n1,{number},0\n", dtype=dtype)
    assert f"'t.csv', line 3: the column 'b' holds a number that does not fit {dtype}" in said


def test_a_target_that_float32_cannot_hold_is_refused(folder: Path) -> None:
    assert "the column 'y' holds a number that does not fit float32" in refusal("a,y\n1,2\n1,1e300\n")


@pytest.mark.parametrize(
    ("number", "said"), [("123456789", "rounds to 123456792"), ("007", "zeros before it")]
)
def test_ids_read_as_numbers_are_told(folder: Path, number: str, said: str) -> None:
    with pytest.warns(UserWarning, match="the column 'id' of 't.csv' holds numbers such as") as told:
        table(f"id,a,y\n{number},1,2\n5,1,3\n")
    assert said in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table(f"id,a,y\n{number},1,2\n5,1,3\n", features=["a"])
        table("a,y\n0,1\n0.5,16777216\n-0,3\n", features=["a"])


@pytest.mark.parametrize(
    ("values", "dtype", "place"),
    [
        ([1.0, 1e39], "float32", 1),
        ([1.0, float("inf"), float("nan")], "float32", None),
        ([1.0, 65504.0], "float16", None),
        ([1.0, 1e30], "bfloat16", None),
        ([0, 2**31], "int32", 1),
        ([0, 2**31 - 1], "int32", None),
        ([2.0, 2.5], "int64", 1),
        ([0.0, float(2**63)], "int64", 1),
        ([0, 2**40], "float32", None),
    ],
)
def test_which_number_does_not_fit(values: list[float], dtype: str, place: int | None) -> None:
    found = misfit(np.array(values), dtype)
    assert (found[0] if found else None) == place


def test_how_far_whole_numbers_are_exact() -> None:
    assert (most_exact("float32"), most_exact("float16"), most_exact("bfloat16")) == (2**24, 2**11, 2**8)
