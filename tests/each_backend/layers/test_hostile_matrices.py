"""Files of matrices and of word vectors that are traps, or no files."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.hostile import CASES, check_refused
from helpers.no_files import HOSTILE, check_no_file, check_no_name
from helpers.readers import WITH_KERAS


@pytest.mark.parametrize("name", [name for name, (kind, _, _) in CASES.items() if kind in WITH_KERAS])
def test_the_library_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(name, tmp_path)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", WITH_KERAS)
def test_what_is_no_file_is_refused_and_never_waited_for(name: str, tmp_path: Path, hostile: str) -> None:
    check_no_file(name, tmp_path, hostile)


@pytest.mark.parametrize("impossible", ["x" * 256, "a\0b", "x" * 5000])
@pytest.mark.parametrize("name", WITH_KERAS)
def test_a_name_that_no_file_can_have(name: str, tmp_path: Path, impossible: str) -> None:
    check_no_name(name, tmp_path, impossible)
