"""Byte order marks and other encodings, in every file of text that people write."""

from __future__ import annotations

from pathlib import Path

import pytest

import frostline as fl
from frostline.errors import FrostlineError, PlanFileError, RunConfigError
from frostline.files.text import invisible_ends, other_encoding
from frostline.runs.config import load_run
from helpers.config_files import BASE

PLAN = "frostline: 1\nrules:\n  - train: 'head/**'\n"
JSON = '{"frostline": 1, "rules": [{"train": "head/**"}]}'
OTHERS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le")


@pytest.mark.parametrize(("name", "text"), [("plan.yaml", PLAN), ("plan.json", JSON)])
def test_a_mark_is_no_part_of_a_plan(tmp_path: Path, name: str, text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode(encoding))
        assert fl.Plan.load(tmp_path / name).to_data()["rules"] == [{"train": "head/**"}]


@pytest.mark.parametrize("encoding", OTHERS)
def test_a_plan_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "plan.yaml").write_bytes(PLAN.encode(encoding))
    with pytest.raises(PlanFileError) as caught:
        fl.Plan.load(tmp_path / "plan.yaml")
    assert "is not text in UTF-8" in str(caught.value)
    assert "UTF-" in str(caught.value.received)
    assert "save it again as UTF-8" in str(caught.value.remedy)


def test_a_mark_is_no_part_of_a_run_config(folder: Path) -> None:
    Path("run.yaml").write_bytes(BASE.encode("utf-8-sig"))
    assert load_run("run.yaml").data.frostline == 1
    Path("run.yaml").write_bytes(BASE.encode("utf-16"))
    with pytest.raises(RunConfigError, match="not text in UTF-8"):
        load_run("run.yaml")


def test_a_receipt_with_a_mark_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_bytes(b"\xef\xbb\xbf{}")
    with pytest.raises(FrostlineError) as caught:
        fl.Receipt.load(tmp_path / "receipt.json")
    assert "BOM" not in str(caught.value)


def test_what_is_utf_8() -> None:
    assert other_encoding("é\n".encode()) is None
    assert other_encoding("é\n".encode("utf-8-sig")) is None
    assert [other_encoding("a,b\n".encode(one)) is not None for one in OTHERS] == [True] * len(OTHERS)


def test_what_cannot_be_seen() -> None:
    assert invisible_ends("\ufeffthe\u200b") == "\ufeff\u200b"
    assert invisible_ends("de\u00adfer") == ""
    assert invisible_ends("\u200d") == "\u200d"
