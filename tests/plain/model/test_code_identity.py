"""Code is told apart by what it does and what it reads, and by nothing else."""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import linecache
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.model.code_identity import Description
from frostline.training.resume.differences import differences, not_comparable

_number = itertools.count()


def made(source: str, name: str = "loss", *, readable: bool = True, lines: int = 0) -> Any:
    """What a program of a user's defines, whose source can be read or not."""
    file = f"<program {next(_number)}>"
    source = "\n" * lines + source
    if readable:
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": f"program_{next(_number)}", "np": np, "functools": functools}
    exec(compile(source, file, "exec", dont_inherit=True), names)
    return names[name]


def changes(then: Any, now: Any) -> list[str]:
    one, other = ({"loss": Description().of(value, "loss")} for value in (then, now))
    assert not list(not_comparable(one, other))
    # As it comes back from a checkpoint.
    return differences(json.loads(json.dumps(one)), json.loads(json.dumps(other)))


BASE = '''
import math
SCALE = 2.0
TABLE = np.arange(3)
def outer(x):
    return inner(x) + 1
def inner(x):
    return deepest(x) * SCALE
def deepest(x):
    return x + TABLE.sum()
def loss(t, p, power=2, *, eps=1e-3):
    """What it says."""
    # A remark.
    near = abs(t - p) ** power
    return outer(near) + math.sqrt(eps)
'''
CHANGES = {
    "near = abs(t - p)": ("near = (t - p)", ["loss: its code differs"]),
    "power=2": ("power=4", ["loss/default of power: 4, was 2"]),
    "eps=1e-3": ("eps=1e-5", ["loss/default of eps: 1e-05, was 0.001"]),
    "SCALE = 2.0": ("SCALE = 3.0", ["loss/global outer/global inner/global SCALE: 3.0, was 2.0"]),
    "deepest(x) *": ("deepest(x) +", ["loss/global outer/global inner: its code differs"]),
    "x + TABLE": ("x - TABLE", ["loss/global outer/global inner/global deepest: its code differs"]),
    "math.sqrt": ("math.exp", ["loss: its code differs"]),
}


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("old", CHANGES)
def test_each_change_is_named(old: str, readable: bool) -> None:
    new, said = CHANGES[old]
    other = BASE.replace(old, new)
    assert other != BASE
    assert changes(made(BASE, readable=readable), made(other, readable=readable)) == said


def test_an_array_that_a_function_reads_is_compared() -> None:
    (said,) = changes(made(BASE), made(BASE.replace("np.arange(3)", "np.arange(3) + 1")))
    assert said.startswith("loss/global outer/global inner/global deepest/global TABLE: int64 (3,) with the")


NEUTRAL = [
    BASE.replace('"""What it says."""', '"""Something else."""'),
    BASE.replace('    """What it says."""\n', ""),
    BASE.replace("# A remark.", "# Another one.\n\n"),
    BASE.replace("abs(t - p) ** power", "(abs(t - p)) ** (power)"),
    BASE.replace("def outer(x):", "def unused(): return 1\n\n\ndef outer(x: float) -> float:"),
]


@pytest.mark.parametrize("other", NEUTRAL)
@pytest.mark.parametrize("readable", [True, False])
def test_what_does_nothing_is_no_change(other: str, readable: bool) -> None:
    assert changes(made(BASE, readable=readable), made(other, readable=readable, lines=7)) == []


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.sampled_from(sorted(CHANGES)), max_size=4),
    st.sampled_from([BASE, *NEUTRAL[:3]]),
    st.booleans(),
)
def test_all_changes_are_named_and_no_others(which: set[str], other: str, readable: bool) -> None:
    for old in which:
        other = other.replace(old, CHANGES[old][0])
    expected = {phrase for old in which for phrase in CHANGES[old][1]}
    assert set(changes(made(BASE, readable=readable), made(other, readable=readable))) == expected


CALLABLE = (
    "class L:\n def __init__(self, k): self.k = k\n def __call__(self, t): return t * self.k\nloss = L(2)"
)
WRAPPER = "def twice(f):\n @functools.wraps(f)\n def g(t): return f(f(t))\n return g\n"
OBJECTS: dict[str, tuple[str, str, str, str]] = {
    "lambda": ("loss = lambda t: t + 1", "t + 1", "t + 2", "its code differs"),
    "one of two on a line": (
        "pair = (lambda t: t + 1, lambda t: t - 1)\nloss = pair[1]",
        "t - 1",
        "t - 2",
        "its code differs",
    ),
    "partial": (
        "def f(t, p, k=1): return t\nloss = functools.partial(f, k=3)",
        "k=3",
        "k=4",
        "argument k: 4, was 3",
    ),
    "partial of other code": (
        "def f(t, p, k=1): return t\nloss = functools.partial(f, k=3)",
        "return t",
        "return p",
        "partial of: its code differs",
    ),
    "nested twice": (
        "def a(k):\n def b():\n  def c(t): return t * k\n  return c\n return b()\nloss = a(2)",
        "a(2)",
        "a(5)",
        "closure k: 5, was 2",
    ),
    "inner function": (
        "def loss(t):\n def b(u):\n  def c(v): return v * 2\n  return c(u)\n return b(t)",
        "v * 2",
        "v * 3",
        "its code differs",
    ),
    "default of an inner function": (
        "def loss(t):\n def b(u, k=1): return u * k\n return b(t)",
        "k=1",
        "k=2",
        "its code differs",
    ),
    "callable object": (
        CALLABLE,
        "L(2)",
        "L(3)",
        "k: 3, was 2",
    ),
    "its class": (
        CALLABLE,
        "t * self.k",
        "t + self.k",
        "class/__call__: its code differs",
    ),
    "value of a class": (
        "class L:\n k = 2\n def __call__(self, t): return t * self.k\nloss = L()",
        "k = 2",
        "k = 3",
        "class/k: 3, was 2",
    ),
    "base class": (
        "class A:\n def f(self): return 1\nclass L(A):\n def __call__(self, t): return self.f()\nloss = L()",
        "return 1",
        "return 2",
        "class/base A/f: its code differs",
    ),
    "bound method": (
        "class L:\n k = 1\n def f(self, t): return t\nloss = L().f",
        "return t",
        "return -t",
        "method: its code differs",
    ),
    "property": (
        "class L:\n @property\n def k(self): return 1\n def __call__(self, t): return self.k\nloss = L()",
        "return 1",
        "return 2",
        "class/get k: its code differs",
    ),
    "slots": (
        "class L:\n __slots__ = ('k',)\n def __init__(self, k): self.k = k\nloss = L(2)",
        "L(2)",
        "L(3)",
        "k: 3, was 2",
    ),
    "cached": (
        "@functools.lru_cache\ndef loss(t): return t + 1",
        "t + 1",
        "t + 2",
        "function: its code differs",
    ),
    "decorated": (
        WRAPPER + "@twice\ndef loss(t): return t + 1",
        "t + 1",
        "t + 2",
        "closure f: its code differs",
    ),
    "attribute of a function": (
        "def loss(t): return t * loss.k\nloss.k = 2",
        "= 2",
        "= 3",
        "attribute k: 3, was 2",
    ),
    "in a list": (
        "fs = [abs, lambda t: t + 1]\ndef loss(t): return fs",
        "t + 1",
        "t + 2",
        "fs/1: its code differs",
    ),
    "in a mapping": ("D = {'a': 1, 'b': 2}\ndef loss(t): return D", "'b': 2", "'b': 3", "D/b: 3, was 2"),
    "generator": ("def g(k):\n while True: yield k\nloss = g(2)", "g(2)", "g(3)", "variable k: 3, was 2"),
    "data class": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n k: int = 2\nloss = C()",
        "k: int = 2",
        "k: int = 3",
        "k: 3, was 2",
    ),
    "type of a number": ("K = 1\ndef loss(t): return t * K", "K = 1\n", "K = 1.0\n", "K: 1.0, was 1"),
}


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("name", OBJECTS)
def test_other_kinds_of_code(name: str, readable: bool) -> None:
    source, old, new, said = OBJECTS[name]
    assert changes(made(source, readable=readable), made(source, readable=readable, lines=3)) == []
    found = changes(made(source, readable=readable), made(source.replace(old, new), readable=readable))
    assert any(phrase.startswith("loss") and phrase.endswith(said) for phrase in found), found


def test_circles_end() -> None:
    source = (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\nloss = even"
    )
    assert changes(made(source), made(source)) == []
    assert changes(made(source), made(source.replace("n != 0", "n > 0"))) == [
        "loss/global odd: its code differs"
    ]
    ring = "class N: pass\nloss = N()\nloss.next = N()\nloss.next.next = loss"
    assert changes(made(ring), made(ring)) == []
    held: list[Any] = []
    held.append(held)
    assert changes(held, held) == []


def test_the_order_of_keys_and_of_sets_is_no_change() -> None:
    one, other = ({"a": 1, "b": {"x", "y", "z"}}, {"b": {"z", "y", "x"}, "a": 1})
    assert changes(one, other) == []


def test_a_source_that_was_edited_since_is_not_taken_for_what_runs(tmp_path: Path) -> None:
    """The file says something else by now; what was compiled before is still what runs."""
    path = tmp_path / "mine.py"
    source = "def loss(t):\n    return t + 1\n"

    def load(text: str) -> Callable[..., Any]:
        path.write_text(text)
        names: dict[str, Any] = {"__name__": "mine_elsewhere"}
        exec(compile(text, str(path), "exec"), names)
        function: Callable[..., Any] = names["loss"]
        return function

    first = load(source)
    before = Description().of(first)
    path.write_text(source.replace("+ 1", "+ 2"))
    os.utime(path, (1, 1))
    after = Description().of(first)
    assert "tree" in before["code"]
    assert "tree" not in after["code"]
    assert differences({"f": before}, {"f": after}) == []
    assert differences({"f": before}, {"f": Description().of(load(source.replace("+ 1", "+ 2")))})


def test_code_that_was_told_by_other_means_is_named() -> None:
    source = "def loss(t):\n    return t + 1\n"
    one = {"loss": Description().of(made(source))}
    other = {"loss": Description().of(made(source, readable=False))}
    other["loss"]["code"]["python"] = "3.99"
    assert differences(one, other) == []
    assert list(not_comparable(one, other)) == [
        "loss: its code, whose source could be read in one of the processes only"
    ]


def test_what_cannot_be_told_is_noted() -> None:
    import threading

    known = Description()
    known.of({"lock": threading.Lock(), "stream": iter([1])}, "data")
    assert known.not_compared == [
        "data/lock: what an object of _thread.lock holds",
        "data/stream: what an object of builtins.list_iterator holds",
    ]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_another_file_another_line(tmp_path: Path, hash_seed: str) -> None:
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); module = __import__(sys.argv[2])\n"
        "from frostline.model.code_identity import Description\n"
        "module.loss.names = {'x', 'y', 'z', 'w'}\n"
        "print(json.dumps(Description().of(module.loss)))"
    )
    text = BASE.replace("import math", "import math\nimport numpy as np\n")
    (tmp_path / "first_name.py").write_text(text)
    (tmp_path / "other_name.py").write_text("\n\n# moved\n" + text)
    found = []
    for name, seed in (("first_name", "0"), ("other_name", hash_seed)):
        words = [sys.executable, "-c", code, str(tmp_path), name]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert "tree" in found[0]["code"]


def test_a_module_of_the_users_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for text in ("t / 2", "t / 3"):
        monkeypatch.delitem(sys.modules, "helpers_of_mine", raising=False)
        (tmp_path / "helpers_of_mine.py").write_text(f"def half(t): return {text}  # {'x' * len(found)}\n")
        importlib.invalidate_caches()
        found.append(made("import helpers_of_mine as h\ndef loss(t): return h.half(t)"))
    assert changes(*found) == ["loss/global h.half: its code differs"]


def test_modules_in_modules_and_names_as_text_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "settings_of_mine").mkdir()
    (tmp_path / "settings_of_mine" / "__init__.py").write_text("from . import inner")
    found = []
    for rate in (2.0, 3.0):
        for name in ("settings_of_mine", "settings_of_mine.inner"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / "settings_of_mine" / "inner.py").write_text(f"RATE = {rate}  # {'x' * len(found)}\n")
        importlib.invalidate_caches()
        begin = "import settings_of_mine as s\nimport settings_of_mine.inner as i\n"
        both = "def loss(t): return t * s.inner.RATE\ndef text(t): return t * getattr(i, 'RATE')\n"
        found.append([made(begin + both, name) for name in ("loss", "text")])
    (loss, text), (other_loss, other_text) = found
    assert changes(loss, other_loss) == ["loss/global s.inner.RATE: 3.0, was 2.0"]
    assert changes(text, other_text) == ["loss/global i.RATE: 3.0, was 2.0"]


@pytest.mark.parametrize("line", ["from late_of_mine import RATE", "import late_of_mine"])
def test_a_module_that_is_imported_when_a_function_runs_is_compared(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = f"def loss(t):\n    {line}\n    import json\n    return t"
    told = []
    for text in ("RATE = 1.0", "RATE = 1.0  # as before", "RATE = 22.0"):
        (tmp_path / "late_of_mine.py").write_text(text)
        importlib.invalidate_caches()
        told.append({"loss": Description().of(made(source), "loss")})
    assert "late_of_mine" not in sys.modules
    assert differences(told[0], told[1]) == []
    assert differences(told[0], told[2]) == ["loss/import late_of_mine: its code differs"]
