"""Text of others is shown as what it is, in tables, JSON, YAML, comments, HTML and shells."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import warnings

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, ConsoleRenderable

from frostline.errors import FrostlineError
from frostline.render.console import SafeConsole
from frostline.render.documents import (
    comment,
    csv_table,
    json_text,
    shell_line,
    yaml_document,
    yaml_list,
    yaml_quoted,
    yaml_text,
)
from frostline.render.foreign import exact, is_shown, one_line, visible, warn
from frostline.render.tables import Rendered, headed, plain, stacked, table, to_text
from helpers.foreign_text import HOSTILE, Elements, acting, texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x85\u2028\x9b", "\\x85\\u2028\\x9b"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("a\u00a0b", "a\\xa0b"),
        ("e\u0301", "e\\u0301"),
        ("\u00e9", "é"),
        ("\u3164", "\\u3164"),
        ("\\x1b", "\\\\x1b"),
        ("\\d+/kernel", "\\d+/kernel"),
        ("größe 日本 🙂", "größe 日本 🙂"),
        ("[bold]", "[bold]"),
    ],
)
def test_a_name_is_shown(text: str, shown: str) -> None:
    assert exact(text) == shown


@given(texts, texts)
def test_names_that_differ_never_look_the_same(one: str, other: str) -> None:
    assert (exact(one) == exact(other)) == (one == other)


@given(st.text("\\nxu01b\x1b\n\u0301e\u00e9", max_size=8), st.text("\\nxu01b\x1b\n\u0301e\u00e9", max_size=8))
def test_nor_where_they_hold_what_looks_like_an_escape(one: str, other: str) -> None:
    assert (exact(one) == exact(other)) == (one == other)


@given(texts)
def test_nothing_acts(text: str) -> None:
    for shown in (visible(text), exact(text), one_line(text), comment(text), json_text([text])):
        assert acting(shown) == set()
        assert shown.encode().decode() == shown
    assert visible(visible(text)) == visible(text)
    for line in (exact(text), one_line(text), comment(text), shell_line([text])):
        assert "\n" not in line and acting(line) == set()


# Documents ----------------------------------------------------------------------------------------


@given(st.recursive(texts | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(texts, inner)))
def test_json_is_json_and_says_the_same(data: object) -> None:
    def no(constant: str) -> None:
        raise AssertionError(constant)

    def finite(one: object) -> object:
        if isinstance(one, dict):
            return {key: finite(value) for key, value in one.items()}
        if isinstance(one, list):
            return [finite(value) for value in one]
        return None if isinstance(one, float) and not abs(one) < float("inf") else one

    for letters in (False, True):
        assert json.loads(json_text(data, letters=letters), parse_constant=no) == json.loads(
            json.dumps(finite(data))
        )


@given(st.lists(texts, max_size=4))
def test_yaml_reads_what_was_written(names: list[str]) -> None:
    for written in (yaml_text, yaml_quoted):
        for name in names:
            assert yaml.safe_load(f"a:\n  b: {written(name)}\n  # {comment(name)}\n") == {"a": {"b": name}}
    assert yaml.safe_load(f"a: {yaml_list(names)} # {comment(''.join(names))}") == {"a": names}


@given(st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=6))
def test_a_yaml_document_reads_as_what_was_written(data: object) -> None:
    text = yaml_document(data)
    assert acting(text) == set()
    assert yaml.safe_load(text) == data


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True), st.text())
def test_a_table_of_numbers_holds_no_formula(names: list[str], text: str) -> None:
    names = [exact(name) for name in names]
    rows = list(csv.reader(io.StringIO(csv_table([dict.fromkeys(names, text), {names[0]: -0.5}]))))
    assert [len(row) for row in rows] == [len(rows[0])] * 3
    assert len(set(rows[0])) == len(names)
    for cell in (*rows[0], *rows[1]):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
        assert all(is_shown(one) for one in cell)
    assert rows[2][0] == "-0.5"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("word", [t for t in HOSTILE if "\x00" not in t and "\ud800" not in t])
def test_a_command_can_be_copied(word: str) -> None:
    line = shell_line(["printf", "%s", word])
    done = subprocess.run(["bash", "-c", line], capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=True)
    assert done.stdout == word.encode("utf-8", "surrogateescape")


# Drawn --------------------------------------------------------------------------------------------


class Record(Rendered):
    """Draws a text in each way in which records are drawn."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich__(self) -> ConsoleRenderable:
        rows = [(self.text, "1"), ("head/kernel", "2")]
        drawn = table(("weight", self.text), rows, numbers=(self.text,), title=self.text)
        return stacked(
            headed(self.text, (f": {self.text}", "bold")), drawn, self.text, plain(self.text, indent=2)
        )


@pytest.mark.parametrize("width", [60, 80])
@given(text=texts)
def test_a_record_draws_nothing_that_acts(width: int, text: str) -> None:
    assert acting(to_text(Record(text), width)) == set()


@given(texts)
def test_a_terminal_gets_no_codes_but_richs(text: str) -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True, color_system=None, width=80, highlight=False)
    console.print(Record(text))
    console.print(text)
    console.print(text, soft_wrap=True)
    assert acting(stream.getvalue()) == set()


def test_a_string_is_no_markup_for_the_console() -> None:
    stream = io.StringIO()
    SafeConsole(file=stream, width=80).print("[bold]a[/bold] :smile:", "[/]")
    assert stream.getvalue() == "[bold]a[/bold] :smile: [/]\n"
    assert to_text("[bold]a[/bold]\n:smile:") == "[bold]a[/bold]\n:smile:"


@given(texts)
def test_a_notebook_gets_no_element_of_others(text: str) -> None:
    shown = Record(text)._repr_mimebundle_([], [])
    page = Elements(shown["text/html"])
    assert page.found <= {"pre", "span"}
    assert page.attributes <= {"style"}
    assert acting(shown["text/html"]) == set()


@given(texts)
def test_a_page_that_rich_writes_of_a_record_neither(text: str) -> None:
    console = Console(file=io.StringIO(), record=True, width=80)
    console.print(Record(text))
    page = Elements(console.export_html())
    assert page.found <= {"html", "head", "meta", "style", "body", "pre", "code", "span"}


# Errors and warnings ------------------------------------------------------------------------------


@given(texts, texts)
def test_an_error_shows_what_it_holds(name: str, received: str) -> None:
    text = str(FrostlineError(f"no layer {name!r}: {name}", received=received, remedy=name))
    assert acting(text) == set()
    # What stands in a field begins no line of its own where a label could stand.
    assert [line for line in text.split("\n") if line.startswith("  ") and line[2] != " "] == [
        line for line in text.split("\n") if line.startswith(("  received: ", "  fix:      "))
    ]


def test_a_message_cannot_pretend_to_be_another_field() -> None:
    error = FrostlineError("no layer", received="cat\n  fix:      rm -rf /", remedy="name another")
    assert str(error) == (
        "no layer.\n  received: cat\n              fix:      rm -rf /\n  fix:      name another"
    )
    assert error.received == "cat\n  fix:      rm -rf /"


def test_a_warning_shows_what_it_holds() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("the layer \x1b[31m\u202ex", stacklevel=1)
    assert str(caught[0].message) == "the layer \\x1b[31m\\u202ex"
    assert caught[0].filename == __file__
