"""Runs `frostline` in this process, as tests of the command line do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pytest

from frostline.cli.app import main


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.out.splitlines()]

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Runner:
    """Runs `frostline` with words in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: str) -> Done:
        self._monkeypatch.setattr(sys, "argv", ["frostline", *words])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    def fails(self, *words: str) -> str:
        """Return the message of a command that could not run; it leaves no file and prints nothing."""
        before = contents(Path.cwd())
        done = self(*words)
        assert (done.code, done.out) == (2, "")
        assert contents(Path.cwd()) == before
        assert done.err.startswith("error: ")
        assert done.err.endswith("\n")
        return done.err[len("error: ") : -1]


@contextmanager
def at_work_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in a folder as a user does, and forget afterwards what was imported from it and registered."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    registered = keras.saving.get_custom_objects()
    known = dict(registered)
    yield folder
    registered.clear()
    registered.update(known)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@contextmanager
def at_work_beside(prepared: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run a case in a folder of its own that shows the prepared files."""
    for entry in prepared.iterdir():
        (folder / entry.name).symlink_to(entry)
    with at_work_in(folder, monkeypatch):
        yield folder


def folder_beside(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """For `pytest.fixture`: a folder that shows the prepared files, in which the test stands."""
    with at_work_beside(prepared, tmp_path, monkeypatch):
        yield tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
