"""The output of a command holds its result alone, whatever the code that it runs prints, and how."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

LOUD = {
    "print": "print('loud')",
    "its stream": "import sys; sys.stdout.write('loud\\n'); sys.__stdout__.write('loud\\n')",
    "the number of the output": "import os; os.write(1, b'loud\\n')",
    "C": "import ctypes; ctypes.CDLL(None).printf(b'loud\\n')",
    "a program": "import subprocess; subprocess.run(['echo', 'loud'])",
    "at exit": "import atexit, os; atexit.register(print, 'loud'); atexit.register(os.write, 1, b'loud')",
    "a thread": "import threading; threading.Thread(target=print, args=('loud',)).start()",
    "a stream of its own": "import sys, io; sys.stdout = sys.__stdout__ = io.StringIO(); print('quiet')",
    "a closed stream": "import sys; sys.stdout.close()",
    "a handler of logs": "import logging, sys; logging.basicConfig(stream=sys.stdout); logging.error('loud')",
    "a duplicate": "import os; os.write(os.dup(1), b'loud\\n')",
}
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from frostline.render.results import results_alone, write_result
with results_alone():
    import loud
    write_result('{"ok": ')
print('true}')
"""


@pytest.mark.parametrize("code", LOUD.values(), ids=LOUD)
def test_results_alone_reach_the_output(tmp_path: Path, code: str) -> None:
    (tmp_path / "loud.py").write_text(code)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True)
    assert json.loads(done.stdout) == {"ok": True}, done.stderr
    assert ("loud" in done.stderr) == ("loud" in code)


def test_streams_of_a_program_that_runs_a_command_stay(capsys: pytest.CaptureFixture[str]) -> None:
    from frostline.render.results import results_alone, write_result

    before = (sys.stdout, sys.stderr)
    with results_alone():
        sys.stdout.write("loud\n")
        with results_alone():
            write_result("result\n")
    sys.stdout.write("afterwards\n")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("result\nafterwards\n", "loud\n")


@pytest.mark.parametrize("words", [["--version"], ["show", "--help"]])
def test_a_closed_output_is_said_in_words(words: list[str]) -> None:
    command = shlex.join([sys.executable, "-m", "frostline", *words])
    done = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


def test_a_result_without_an_output_is_said_in_words() -> None:
    program = (
        "from frostline.cli.ending import exit_code\nfrom frostline.render.results import write_result\n"
        "import sys\ntry:\n    write_result('x')\nexcept Exception as error:\n    sys.exit(exit_code(error))"
    )
    command = shlex.join([sys.executable, "-c", program])
    done = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        "error: the result cannot be written: the output is closed.\n",
    )


def test_a_folder_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = shlex.join([sys.executable, "-m", "frostline", "show", str(tmp_path / "m.keras")])
    done = subprocess.run(
        ["sh", "-c", f"cd gone && rmdir ../gone && {command}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "the folder that this command runs in cannot be reached any more" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["0", "-5", "x", "1"])
def test_any_width_shows_the_result(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.render.console import SafeConsole

    monkeypatch.setenv("COLUMNS", columns)
    stream = io.StringIO()
    SafeConsole(file=stream, force_terminal=True).print("shown")
    assert "".join(stream.getvalue().split()).startswith("shown")
