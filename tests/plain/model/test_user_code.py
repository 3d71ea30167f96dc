"""Code of the user's: what it raises is told apart, and what it changes is put back."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from frostline.errors import FrostlineError, ModelFileError
from frostline.model.user_code import called, find_function, imported

RETURNS = "\n  expected: code that returns, or fails with an Exception"
GUARD = "\n  fix:      put what ends the program under if __name__ == '__main__':"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def written(folder: Path, code: str, name: str = "mine") -> str:
    (folder / f"{name}.py").write_text(code)
    return name


ENDS = {
    "import sys\nsys.exit(0)\n": ("SystemExit: 0", GUARD),
    "\nraise SystemExit\n": ("SystemExit: ", GUARD),
    "\nexit()\n": ("SystemExit: None", GUARD),
    "import sys\nsys.exit('done \\x1b[31m')\n": ("SystemExit: done \\x1b[31m", GUARD),
    "\nraise GeneratorExit\n": ("GeneratorExit: ", ""),
    "class Own(BaseException): pass\nraise Own('mine')\n": ("Own: mine", ""),
    "import asyncio\nraise asyncio.CancelledError('no')\n": ("CancelledError: no", ""),
}


@pytest.mark.parametrize("code", ENDS)
def test_an_import_that_ends_the_program(folder: Path, code: str) -> None:
    said, remedy = ENDS[code]
    with pytest.raises(ModelFileError) as caught:
        imported([written(folder, code)])
    assert str(caught.value) == (
        f"the module 'mine' cannot be imported.\n  received: {said} ({folder}/mine.py, line 2)"
        f"{RETURNS}{remedy}"
    )


@pytest.mark.parametrize("code", ENDS)
def test_a_function_that_does(folder: Path, code: str) -> None:
    said, remedy = ENDS[code]
    inside = "".join(f"    {line}\n" for line in code.splitlines())
    function = find_function(f"{written(folder, f'def f():{chr(10)}{inside}')}:f", folder)
    with pytest.raises(ModelFileError) as caught:
        called(function, "mine:f")
    assert str(caught.value) == (
        f"mine:f failed.\n  received: {said} ({folder}/mine.py, line 3){RETURNS}{remedy}"
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("\n1 / 0\n", "ZeroDivisionError: division by zero"),
        ("\nraise StopIteration\n", "StopIteration: "),
        ("def f(): f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
        ("\nraise ValueError('\\u202e\\x1b[2Jx')\n", "ValueError: \\u202e\\x1b[2Jx"),
    ],
)
def test_an_import_that_fails(folder: Path, code: str, said: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        imported([written(folder, code)])
    line = 1 if "RecursionError" in said else 2
    text = f"the module 'mine' cannot be imported.\n  received: {said} ({folder}/mine.py, line {line})"
    assert str(caught.value) == text


def test_ctrl_c_and_errors_of_frostlines_own_pass(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        imported([written(folder, "raise KeyboardInterrupt")])
    own = "from frostline.errors import PlanError\nraise PlanError('mine')"
    with pytest.raises(FrostlineError, match="mine"):
        imported([written(folder, own, "other")])


CHANGES = """
import logging, os, signal, sys, warnings
os.chdir("/")
sys.argv[:] = ["other"]
warnings.filterwarnings("ignore")
warnings.showwarning = print
sys.stdout = sys.stderr = None
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.umask(0o777)
"""


@pytest.mark.parametrize("fails", [False, True])
def test_what_it_changes_is_put_back(folder: Path, fails: bool) -> None:
    before = state()
    with warnings.catch_warnings():
        filters = [*warnings.filters]
        if fails:
            with pytest.raises(ModelFileError):
                imported([written(folder, CHANGES + "raise SystemExit")])
        else:
            imported([written(folder, CHANGES)])
        assert (state(), warnings.filters) == (before, filters)


def state() -> tuple[object, ...]:
    streams = (sys.stdout, sys.stderr, warnings.showwarning)
    mask = os.umask(0o022)
    os.umask(mask)
    return (Path.cwd(), [*sys.argv], *streams, signal.getsignal(signal.SIGINT), mask)


@pytest.mark.parametrize("what", ["raise E", "raise SystemExit(0)", "return 5"])
@pytest.mark.parametrize("base", ["Exception", "BaseException"])
def test_an_error_whose_text_fails(folder: Path, what: str, base: str) -> None:
    code = f"class E({base}):\n    def __str__(self): {what}\nraise E\n"
    with pytest.raises(ModelFileError) as caught:
        imported([written(folder, code)])
    assert "received: E: (no text: its __str__ raised " in str(caught.value)
    assert "/mine.py, line 3)" in str(caught.value)


def test_a_folder_that_the_code_removes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    inner = tmp_path_factory.mktemp("inner")
    os.chdir(inner)
    imported([written(folder, f"import os\nos.rmdir({str(inner)!r})\nos.chdir('/')\n")], folder)
    assert Path.cwd() == Path("/")


# What else is imported ----------------------------------------------------------------------------


def test_files_beside_it_stand_for_no_module_of_a_library(folder: Path) -> None:
    """A library may import a module later, for the first time; no file that lies beside data must be it."""
    written(folder, "raise SystemExit('a file beside the data was run')", "colorsys")
    sys.modules.pop("colorsys", None)
    imported([written(folder, "VALUE = 1")])
    import colorsys

    assert not colorsys.__file__.startswith(str(folder))


def test_modules_beside_it_are_found_by_it_first_and_later_too(folder: Path) -> None:
    written(folder, "PLACE = 'beside'", "helper_beside")
    code = "import helper_beside\ndef later():\n    import helper_later\n    return helper_later.PLACE\n"
    name = written(folder, code)
    written(folder, "PLACE = 'later'", "helper_later")
    later = find_function(f"{name}:later", folder)
    assert called(later, "mine:later") == "later"
    assert sys.path.count(str(folder)) == 1 and sys.path[-1] == str(folder)


def test_a_folder_on_the_path_already_stays_where_it_is(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    before = [*sys.path]
    imported([written(folder, "VALUE = 1")])
    assert sys.path == before


@pytest.mark.parametrize(
    "name", ["", ".", ".mine", "a/b", "../x", "a\x00b", "a b", "\ud800", "x" * 5000, "1", "-"]
)
def test_names_that_are_no_modules(folder: Path, name: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        imported([name], folder)
    assert "\x00" not in str(caught.value)
