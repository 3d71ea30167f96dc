"""The output of a command holds its result alone, whatever the code that it runs prints, and how."""

from __future__ import annotations

import json
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
