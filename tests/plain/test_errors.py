"""What errors say, and what the helpers for their sentences give."""

from __future__ import annotations

import inspect
import time

import pytest

from frostline import errors
from frostline.errors import FrostlineError, listed, near


def test_all_parts_of_a_message() -> None:
    error = FrostlineError("no such layer", received="'haed'", expected="a layer", remedy="write 'head'")
    assert str(error) == (
        "no such layer.\n"  #
        "  received: 'haed'\n"
        "  expected: a layer\n"
        "  fix:      write 'head'"
    )
    assert error.args == ("no such layer",)


@pytest.mark.parametrize(
    ("what", "first"),
    [("a sentence", "a sentence."), ("ended.", "ended."), ("which one?", "which one?"), ("these:", "these:")],
)
def test_a_full_stop_is_added_where_none_stands(what: str, first: str) -> None:
    assert str(FrostlineError(what)) == first


def test_empty_parts_are_left_out() -> None:
    assert str(FrostlineError("a sentence", received="", remedy="so")) == "a sentence.\n  fix:      so"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        head, branch, rest = line.rpartition("── ")
        if branch:
            depth = len(head) // 4 + 1
            name = rest.split()[0]
            drawn[name] = above[depth - 1]
        elif line.strip() == "FrostlineError":
            depth, name = 0, line.strip()
        else:
            continue
        above[depth:] = [name]
    real = {
        name: cls.__bases__[0].__name__
        for name, cls in vars(errors).items()
        if inspect.isclass(cls) and issubclass(cls, FrostlineError) and cls is not FrostlineError
    }
    assert drawn == real


def test_near_matches_among_very_many() -> None:
    known = [f"backbone/stage_{n % 7}/block_{n}/attention/query/kernel" for n in range(100_000)]
    began = time.process_time()
    assert known[4711] in near("backbone/stage_0/block_4711/atention/query/kernel", known)
    assert near("a" * 100_000, ["a" * 50_000 + str(n) for n in range(500)])
    assert time.process_time() - began < 10


def test_near_gives_the_best_first_and_nothing_far() -> None:
    known = ["head/kernel", "head/bias", "tail/kernel", "embed"]
    assert near("haed/kernel", known) == ["head/kernel", "tail/kernel"]
    assert near("haed/kernel", known, most=1) == ["head/kernel"]
    assert near("zzzz", known) == []


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (["a", "b", "c", "d"], "a, b and 2 more"),
    ],
)
def test_listed(items: list[str], text: str) -> None:
    assert listed(iter(items), most=2) == text
