"""Patterns are matched in bounded time, and mean what they meant."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.errors import PlanError, SelectorError
from frostline.plan import matching
from frostline.plan.globs import read_glob
from frostline.plan.matching import expression_matching, patterns_together, require_expression
from frostline.plan.plan import Plan
from frostline.plan.selectors import selector

DEEP = ["/".join(f"l{n}" for n in range(200)) + f"/k{m}" for m in range(50)]

pieces = st.sampled_from(
    ["a", "b", "/", "*", "?", "{a,b}", "{,a}", "{b/*,a}", "[ab]", "[!a]", "**/", "/**", "ab"]
)
globs = st.lists(pieces, min_size=1, max_size=7).map("".join)
names = st.lists(st.text("ab/", max_size=8), min_size=1, max_size=6)


# Globs --------------------------------------------------------------------------------------------


@given(globs, names)
def test_both_ways_to_match_a_glob_agree(pattern: str, texts: list[str]) -> None:
    try:
        glob = read_glob(pattern)
    except SelectorError:
        return
    expression = re.compile(glob.expression, re.DOTALL)
    until = time.monotonic() + 60
    for text in texts:
        assert glob.automaton.matches(text, glob.end, until=until) == bool(expression.fullmatch(text))
    assert glob.matching(texts) == {text for text in texts if expression.fullmatch(text)}


@pytest.mark.parametrize(
    ("pattern", "texts", "picked"),
    [
        ("**/**/**/**/zzz", DEEP, 0),
        ("**/" * 60 + "k7", DEEP, 1),
        ("*/**/" * 40 + "*", DEEP, 50),
        ("*a" * 200 + "b", ["a" * 300], 0),
        ("{a,aa}" * 60, ["a" * 90, "a" * 200], 1),
        ("{" * 3000 + "a" + "}" * 3000, ["a", "b"], 1),
        ("{a,b}" * 3000, ["ab" * 1500, "ab" * 1499], 1),
        ("{a,{b,{c,**/{d,*}}}}" * 8, ["a" * 8, "x/d" * 9, "a/" * 100], 3),
        ("?" * 5000, ["x" * 5000], 1),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_glob_takes_no_time(pattern: str, texts: list[str], picked: int) -> None:
    began = time.process_time()
    assert len(read_glob(pattern).matching(texts)) == picked
    assert time.process_time() - began < 3


def test_a_glob_that_takes_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.1)
    with pytest.raises(SelectorError) as caught:
        read_glob("{,a}" * 2000).matching(["a" * n for n in range(2000)])
    assert str(caught.value) == (
        f"the glob {'{,a}' * 15!r}... takes too long: it was stopped after 0.1 s.\n"
        "  received: 2,000 names, the longest of 1,999 signs\n"
        "  fix:      write fewer alternatives and stars"
    )


def test_a_pattern_that_is_too_long() -> None:
    for pattern, noun in (("a" * 20_001, "glob"), ("re:" + "a" * 20_001, "regular expression")):
        with pytest.raises(SelectorError) as caught:
            selector(pattern)
        assert str(caught.value) == (
            f"the {noun} {'a' * 40!r}... is too long.\n  received: 20,001 signs\n  expected: at most 20,000\n"
            "  fix:      write several rules, or a list under any:"
        )


# Regular expressions ------------------------------------------------------------------------------

ADDRESSES = ("backbone/block_1/kernel", "backbone/block_12/bias", "head/kernel", "head/bias", "aaaa")
USUAL = (
    r"(?!head).*",
    r"(?=.*bias)backbone/.*",
    r".*(?<!bias)",
    r"(?:backbone|head)/(?:.*/)?kernel",
    r".*/block_(\d+)/(kernel|bias)",
    r"(?i)HEAD/KERNEL",
    r"(a)(?:\1)+",
    r"(?x) head / (kernel | bias) # both",
    r"(?P<x>a)(?P=x)*",
    r"[^/]+/[^/]+",
    r"(?:a{1,2}){2}",
    r"",
    r"(?>a+)b?",
)


@pytest.mark.parametrize("pattern", USUAL)
@pytest.mark.parametrize("apart", [False, True])
def test_an_expression_means_what_re_makes_of_it(
    pattern: str, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if apart:
        monkeypatch.setattr(matching, "_QUICK_STEPS", -1)
    require_expression(pattern)
    compiled = re.compile(pattern)
    assert expression_matching(pattern, ADDRESSES) == {a for a in ADDRESSES if compiled.fullmatch(a)}
    assert expression_matching(pattern, ADDRESSES, within=True) == {
        a for a in ADDRESSES if compiled.search(a)
    }


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*b",
        "(a*)*b",
        "(?:a?){60}a{60}",
        "(?x)(a+) +$",
        "(a+)(?#)+$",
        "(.*a){30}",
        "^(([a-z])+.)+[A-Z]",
    ],
)
def test_an_expression_that_takes_long_is_stopped(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(SelectorError) as caught:
        expression_matching(pattern, ["a" * 60 + "!"])
    assert time.monotonic() - began < 5
    assert str(caught.value) == (
        f"the regular expression {pattern!r} takes too long: it was stopped after 1 s.\n"
        "  received: 1 name, the longest of 61 signs\n"
        "  fix:      write no repetition of what is repeated, such as (a+)+; or a glob, which is always quick"
    )


fragments = st.sampled_from(["a", "b", "a*", ".+", "a?", "|", "[ab]*", "(?=a)", "(?:b)"])


@given(st.lists(fragments, max_size=4).map("".join))
def test_what_is_matched_here_has_few_ways(pattern: str) -> None:
    texts = ["ab" * 20 + "!"]
    if not matching._is_quick(pattern, texts):
        return
    began = time.process_time()
    expression_matching(pattern, texts)
    assert time.process_time() - began < 2


SYNTAX = "\n  expected: the syntax of Python's re module"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "(" * 3000 + ")" * 3000,
            f"the regular expression {'(' * 40!r}... of 6,000 signs cannot be read: "
            "its groups are nested too deeply",
        ),
        (
            "(a",
            "the regular expression '(a' cannot be read: missing ), unterminated subpattern at position 0",
        ),
        (
            "a{99999999999}",
            "the regular expression 'a{99999999999}' cannot be read: the repetition number is too large",
        ),
    ],
)
def test_an_expression_that_cannot_be_read(pattern: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        selector(f"re:{pattern}")
    assert str(caught.value) == f"{message}.{SYNTAX}"


def test_a_number_of_thousands_of_digits_in_a_pattern() -> None:
    with pytest.raises(SelectorError, match="cannot be read: Exceeds the limit"):
        selector("re:a{" + "1" * 5000 + "}")
    with pytest.raises(SelectorError) as caught:
        selector("last:" + "1" * 5000)
    assert str(caught.value) == (
        f"the selector 'last:{'1' * 40}' has too large a count.\n"
        "  expected: a whole number from 1 up, such as 'last:3'"
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "re:(?i)" + "[!-\uffff]" * 1000,
        "re:" + r"[\x21-\uffff]" * 1000,
        "re:" + "(?:a|\uffff)" * 1000,
        "[!!-\uff00]" * 1000,
    ],
    ids=["letters", "escapes", "alternatives", "a glob"],
)
def test_sets_of_characters_that_take_long_to_read(pattern: str) -> None:
    began = time.monotonic()
    with pytest.raises(SelectorError, match="would take too long to read") as caught:
        selector(pattern)
    assert time.monotonic() - began < 1
    assert "\n  received: 1,000 brackets, and letters beyond U+00FF\n" in str(caught.value).replace(
        "1,001", "1,000"
    )
    selector("re:" + "[a-z]" * 1000 + "[ä]")
    selector("re:" + "(?:[一-龥]|é)+/" * 20)


@pytest.mark.parametrize("noun", ["regular expression", "glob"])
def test_all_patterns_of_a_plan_together_take_no_longer_than_one(
    noun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.6)
    monkeypatch.setattr(matching, "_FREE", 0.0)
    texts = ["a" * n for n in range(100)]

    def match(number: int) -> None:
        if noun == "glob":
            read_glob("{,a}" * (60 + number)).matching(texts)
        else:
            expression_matching(f"(a{{1,}})+b{{{number}}}", ["a" * 16])

    match(1)
    match(2)
    began = time.monotonic()
    with pytest.raises(SelectorError) as caught, patterns_together():
        for number in range(3, 400):
            match(number)
    assert time.monotonic() - began < 5
    assert str(caught.value).startswith(f"the {noun} ")
    assert " takes, with the patterns before it, too long: it was stopped after 0.6 s." in str(caught.value)


def test_patterns_of_a_plan_that_take_long_to_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.3)
    slow = [{"train": f"re:{'(?:[一-龥]|é)+/' * 20}{number}"} for number in range(300)]
    began = time.monotonic()
    with pytest.raises(PlanError, match="with the patterns before it, too long"):
        Plan.from_data({"frostline": 1, "rules": slow})
    assert time.monotonic() - began < 5


def test_a_plan_of_a_thousand_ordinary_rules_is_read() -> None:
    rules = [{"train": f"block_{n}/**/{{kernel,bias}}"} for n in range(1000)]
    assert len(Plan.from_data({"frostline": 1, "rules": rules}).rules) == 1000


def test_a_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SelectorError) as caught:
        expression_matching("(x+)+y", ["xx"])
    assert str(caught.value) == (
        "the regular expression '(x+)+y' could not be matched in a process of its own.\n"
        "  received: [Errno 2] No such file or directory: '/nowhere/python'\n"
        "  expected: one that takes no repetition of groups, which is matched in this process\n"
        "  fix:      write it as a glob, or as several rules"
    )


def test_the_process_imports_nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    seen: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        return subprocess.CompletedProcess(command, 0, json.dumps([0]), "")

    monkeypatch.setattr(matching.subprocess, "run", run)
    assert expression_matching("(z+)+", ["z"]) == {"z"}
    assert seen[0][1:3] == ["-I", "-S"]


# Selectors in selectors ---------------------------------------------------------------------------


def test_selectors_nested_too_deeply() -> None:
    nested: object = "a"
    for _ in range(5000):
        nested = {"not": nested}
    itself: dict[str, object] = {}
    itself["any"] = [itself]
    for one in (nested, itself):
        with pytest.raises(SelectorError) as caught:
            selector(one)
        assert str(caught.value) == (
            "a combined selector is nested too deeply, or contains itself.\n"
            "  expected: at most 50 levels of any, all and not"
        )


def test_selectors_nested_as_people_do() -> None:
    nested: object = "a"
    for _ in range(25):
        nested = {"any": ["b", {"not": nested}]}
    assert selector(nested).to_data() == nested
