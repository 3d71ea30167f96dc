"""Files whose sizes or names are unlucky: many columns, large arrays of nothing, vectors of one long line."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from frostline.data.csv_table import load_csv
from frostline.data.sources import CsvData
from frostline.elements.places import read_places
from frostline.errors import MatrixFileError, ParametrizationError, PlanFileError
from frostline.files.array_file import mapped_npy, read_npy
from frostline.files.atomic import write_atomically
from frostline.files.limits import UnreadableError
from frostline.runs.data import digest_file
from helpers.hostile import npy_head


def test_a_table_of_a_hundred_thousand_columns_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    names = [*(f"c{number}" for number in range(100_000)), "kind"]
    path.write_text(f"{','.join(names)}\n{'1,' * 100_000}cat\n")
    began = time.monotonic()
    assert load_csv(path, CsvData(csv=str(path), target="kind")).x.shape == (1, 100_000)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "shape", ["(0, 4611686018427387904, 4611686018427387904)", "(4611686018427387904, 0)"]
)
def test_an_array_of_nothing_that_numpy_cannot_count(tmp_path: Path, shape: str) -> None:
    raw = npy_head(shape)
    with pytest.raises(UnreadableError, match=r"its head says the shape .*, which no array has"):
        read_npy(io.BytesIO(raw), len(raw))
    (tmp_path / "x.npy").write_bytes(raw)
    with (
        (tmp_path / "x.npy").open("rb") as stream,
        pytest.raises(UnreadableError, match="which no array has"),
    ):
        mapped_npy(stream)
    assert read_npy(io.BytesIO(npy_head("(0, 7)")), 1000).shape == (0, 7)


def test_word_vectors_whose_first_line_has_very_many_numbers(tmp_path: Path) -> None:
    from frostline.layers.word_vectors import read_word_vectors

    path = tmp_path / "words.txt"
    path.write_bytes(b"a" + b" 1" * 300_000 + b"\n" + b"x\n" * 300_000)
    with pytest.raises(MatrixFileError, match="line 2: a word and 0 numbers, where others have 300000"):
        read_word_vectors(path)


def test_word_vectors_that_do_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.layers.word_vectors import read_word_vectors

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    path = tmp_path / "words.txt"
    path.write_text("a 1 2\nb 1 2\n")
    monkeypatch.setattr(np, "zeros", full)
    with pytest.raises(MatrixFileError, match="do not fit into memory"):
        read_word_vectors(path)


def test_a_folder_with_a_name_that_is_not_utf_8_has_a_digest(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    before = digest_file(tmp_path)
    with open(raw + b"/\xff.png", "wb"):  # noqa: PTH123
        pass
    assert digest_file(tmp_path) != before


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PlanFileError, match="it is a pipe or a device, and no file"):
        write_atomically(tmp_path / "pipe", b"x", PlanFileError)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


MANY = "9" * 5000
"""More digits than Python makes a number of."""


def test_a_first_line_of_word_vectors_with_a_number_of_very_many_digits(tmp_path: Path) -> None:
    from frostline.layers.word_vectors import read_word_vectors

    for text in (f"2 {MANY}\n7 3\n8 4\n", f"{MANY} 2\n7 3\n8 4\n", f"{MANY} {MANY}\n7 3 4\n"):
        path = tmp_path / "words.txt"
        path.write_text(text)
        with contextlib.suppress(MatrixFileError):
            assert read_word_vectors(path).words[0] in ("2", MANY)


@pytest.mark.parametrize("text", [MANY, f"0:{MANY}", f"-{MANY}:", f"::{MANY}"])
def test_rows_of_very_many_digits_are_no_rows(text: str) -> None:
    with pytest.raises(ParametrizationError) as caught:
        read_places(text, "row")
    assert len(str(caught.value)) < 500
    assert "this text names no rows" in str(caught.value)
