"""Keras runs on what is installed, where Frostline was imported before it and nothing was chosen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from helpers.fake_keras import FakeKeras
from helpers.folders import DOCS, EXAMPLES, PROJECT

ASK = "import frostline, keras; print(keras.backend())"
TOLD = "no backend was chosen for Keras, so it runs on {}, {}; KERAS_BACKEND={} keeps that choice\n"
ONE, SOME = "the one installed", "the first of those installed ({})"


def said(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


NOTHING = [None, {"backend": "absent"}, {}, "{", {"backend": "a.b"}, {"backend": ""}]


@pytest.mark.parametrize(
    ("backend", "settings"),
    [("jax", None), ("tensorflow", {"backend": "torch"}), *(("torch", settings) for settings in NOTHING)],
)
def test_the_one_that_is_there_is_taken(tmp_path: Path, backend: str, settings: object) -> None:
    fake = FakeKeras(tmp_path, backend)
    if settings is not None:
        fake.configure(settings)
    assert said(fake.run(ASK)) == (backend, TOLD.format(backend, ONE, backend))


def test_what_keras_takes_by_itself_needs_no_word(tmp_path: Path) -> None:
    fake = FakeKeras(tmp_path, "tensorflow")
    assert said(fake.run(ASK)) == said(fake.run(ASK)) == ("tensorflow", "")


@pytest.mark.parametrize(
    ("installed", "taken"),
    [(("torch", "jax"), "jax"), (("tensorflow", "torch"), None), (("tensorflow", "jax"), None)],
)
def test_of_several_it_is_the_one_that_keras_takes_and_the_command_line_takes_the_same(
    tmp_path: Path, installed: tuple[str, ...], taken: str | None
) -> None:
    fake = FakeKeras(tmp_path, *installed)
    choose = "from frostline.backend_choice import choose_backend; print(choose_backend())"
    told = TOLD.format(taken, SOME.format("jax, torch"), taken) if taken else ""
    for _ in range(2):  # after the first time there is the file that Keras writes
        assert said(fake.run(choose)) == (taken or "tensorflow", "")
        assert said(fake.run(ASK)) == (taken or "tensorflow", told)


def test_what_the_user_set_stays(tmp_path: Path) -> None:
    fake = FakeKeras(tmp_path, "jax", "torch")
    fake.write("numpy_like/__init__.py", "")
    assert said(fake.run(ASK, KERAS_BACKEND="torch")) == ("torch", "")
    assert said(fake.run(ASK, KERAS_BACKEND="numpy_like")) == ("numpy_like", "")  # one of Keras's, or not
    later = (
        "import frostline, os; os.environ['KERAS_BACKEND'] = 'torch'; import keras; print(keras.backend())"
    )
    assert said(fake.run(later)) == ("torch", "")
    fake.configure({"backend": "torch"})
    assert said(fake.run(ASK)) == ("torch", "")
    fake.configure({"backend": "numpy_like"})
    assert said(fake.run(ASK)) == ("numpy_like", "")


def test_the_file_that_keras_writes_is_no_choice(tmp_path: Path) -> None:
    fake = FakeKeras(tmp_path, "torch")
    first, told = said(fake.run(ASK))
    assert '"tensorflow"' in fake.settings.read_text()
    assert said(fake.run(ASK)) == (first, told) == ("torch", TOLD.format("torch", ONE, "torch"))


def test_it_is_said_once_and_nothing_is_left_behind(tmp_path: Path) -> None:
    code = """
import sys; before = list(sys.meta_path)
import frostline, keras, keras
from importlib import reload
reload(keras)
assert sys.meta_path == before
assert type(keras.__loader__).__name__ == type(keras.__spec__.loader).__name__ == "SourceFileLoader"
"""
    assert said(FakeKeras(tmp_path, "jax").run(code)) == ("", TOLD.format("jax", ONE, "jax"))


def test_looking_whether_keras_is_there_settles_nothing(tmp_path: Path) -> None:
    code = """
import copy, importlib.util, os
import frostline
spec = importlib.util.find_spec("keras")
copy.deepcopy(spec.loader)
assert "KERAS_BACKEND" not in os.environ
print(spec.loader.get_filename("keras") == spec.origin)
"""
    for installed in ((), ("jax",)):
        assert said(FakeKeras(tmp_path / "".join(installed), *installed).run(code)) == ("True", "")


@pytest.mark.parametrize("ask", [ASK, "import frostline as fl; fl.fit"])
def test_none_is_there(tmp_path: Path, ask: str) -> None:
    done = FakeKeras(tmp_path).run(ask)
    assert done.stderr.endswith(
        "frostline.errors.MissingBackendError: no backend of Keras is installed.\n"
        "  received: installed: none\n"
        "  expected: one of jax, torch, tensorflow\n"
        "  fix:      pip install 'frostline[jax]'\n"
    )


def test_it_is_an_import_error_too(tmp_path: Path) -> None:
    code = """
import frostline
try:
    import keras
except ImportError as problem:
    print(isinstance(problem, frostline.FrostlineError))
"""
    assert said(FakeKeras(tmp_path).run(code)) == ("True", "")


def test_the_one_that_was_asked_for_is_not_there(tmp_path: Path) -> None:
    done = FakeKeras(tmp_path, "torch").run(ASK, KERAS_BACKEND="tensorflow")
    assert done.stderr.endswith(
        "the backend 'tensorflow' is not installed.\n"
        "  received: installed: torch\n"
        "  expected: one of jax, torch, tensorflow\n"
        "  fix:      pip install 'frostline[tensorflow]', or set KERAS_BACKEND=torch\n"
    )


def test_keras_failed_before(tmp_path: Path) -> None:
    code = """
try:
    import keras
except ImportError:
    pass
import frostline, keras
"""
    done = FakeKeras(tmp_path, "torch").run(code)
    assert done.stderr.endswith(
        "Keras was imported before Frostline, looked for 'tensorflow', and does not choose again.\n"
        "  received: installed: torch\n"
        "  fix:      start Python again, and import frostline before keras, "
        "or set KERAS_BACKEND before both\n"
    )
    assert "it runs on" not in done.stderr


def test_another_package_that_keras_lacks_is_named_as_python_names_it(tmp_path: Path) -> None:
    fake = FakeKeras(tmp_path, "jax")
    fake.write("jax/__init__.py", "import what_jax_needs")
    assert fake.run(ASK).stderr.endswith("ModuleNotFoundError: No module named 'what_jax_needs'\n")


def test_a_folder_without_code_is_no_backend(tmp_path: Path) -> None:
    """Such as one of the user's own, or what is left of a package that was taken off."""
    fake = FakeKeras(tmp_path, "torch")
    fake.write("left_over/data.txt", "")
    fake.configure({"backend": "left_over"})
    assert said(fake.run(ASK)) == ("torch", TOLD.format("torch", ONE, "torch"))


# Documents ------------------------------------------------------------------------------------------

FENCED = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def imports_keras_first(code: str) -> bool:
    before = re.split(r"^(?:import|from) frostline", code, maxsplit=1, flags=re.MULTILINE)[0]
    return re.search(r"^(?:import|from) keras", before, re.MULTILINE) is not None


@pytest.mark.parametrize(
    "document", sorted([PROJECT / "README.md", *DOCS.rglob("*.md")]), ids=lambda path: path.name
)
def test_a_document_that_imports_keras_first_says_how_to_run_it(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    if any(map(imports_keras_first, FENCED.findall(text))):
        assert "KERAS_BACKEND" in text


def test_the_first_program_of_the_readme_needs_no_choice() -> None:
    first = FENCED.findall((PROJECT / "README.md").read_text(encoding="utf-8"))[0]
    assert "import keras" in first
    assert not imports_keras_first(first)


def test_the_examples_say_how_to_run_them() -> None:
    assert "KERAS_BACKEND" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
