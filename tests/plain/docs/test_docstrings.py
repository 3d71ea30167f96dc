"""The examples in docstrings that need no Keras run, and print what they say: once for all backends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from frostline.errors import MissingDataError
from helpers import docstrings
from helpers.folders import TESTS


@pytest.mark.parametrize("name", sorted(docstrings.WITHOUT_KERAS))
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(docstrings.examples(name))
    assert found
    for example in found:
        try:
            docstrings.run(example)
        except (ImportError, MissingDataError) as error:
            if name not in docstrings.EXEMPT:
                raise
            pytest.skip(f"a package of the extra `demo` is absent: {error}")


def test_none_of_them_loads_keras(tmp_path: Path) -> None:
    """Else it could come out otherwise on another backend."""
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "from helpers import docstrings\n"
        "for name in sorted(docstrings.WITHOUT_KERAS - docstrings.EXEMPT):\n"
        "    for example in docstrings.examples(name):\n"
        "        docstrings.run(example)\n"
        "    assert 'keras' not in sys.modules, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
