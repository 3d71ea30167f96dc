"""Records as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from frostline.render.tables import Rendered, bytes_text, count, share, stacked, table, to_text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 weights"), (1, "1 weight"), (2, "2 weights"), (1234567, "1,234,567 weights")]
)
def test_count(number: int, text: str) -> None:
    assert count(number, "weight") == text


@pytest.mark.parametrize(("number", "text"), [(1, "1 batch"), (2, "2 batches"), (1000, "1,000 batches")])
def test_count_of_a_noun_with_a_plural_of_its_own(number: int, text: str) -> None:
    assert count(number, "batch", "batches") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (90_400_000, "90.4 MB"),
        (999_999_999, "1.0 GB"),
        (4_500_000_000_000, "4,500.0 GB"),
    ],
)
def test_bytes_text(number: int, text: str) -> None:
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0%"),
        (0, 7, "0%"),
        (7, 7, "100%"),
        (1, 2, "50%"),
        (1, 3, "33%"),
        (1, 1000, "0.1%"),
        (999, 1000, "99.9%"),
        (385, 22_713_601, "0.002%"),
        (22_713_600, 22_713_601, "over 99.9999%"),
        (1, 22_713_601, "4.4e-06%"),
    ],
)
def test_share(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


@given(st.integers(1, 10**12).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_a_share_reads_as_nothing_or_all_only_where_it_is(case: tuple[int, int]) -> None:
    part, whole = case
    number = float(share(part, whole).removeprefix("over ").removesuffix("%"))
    assert (number == 0) == (part == 0)
    assert (number == 100) == (part == whole)
    assert number == pytest.approx(100 * part / whole, abs=0.5)


MARKUP = "[bold]head[/bold]/kernel[/] :smile:"


def test_markup_in_user_text_is_not_interpreted() -> None:
    drawn = stacked(table(("address",), [(MARKUP,)], title=MARKUP), MARKUP)
    lines = to_text(drawn).splitlines()
    assert lines == [MARKUP, "address", MARKUP, MARKUP]


def test_a_table_sets_numbers_flush_right_and_says_its_title() -> None:
    drawn = table(("name", "elements"), [("a", "12"), ("bb", "3,456")], numbers=("elements",), title="T")
    assert to_text(drawn).splitlines() == [
        "T",
        "name  elements",
        "a           12",
        "bb       3,456",
    ]


def test_long_addresses_are_folded_and_not_cut() -> None:
    address = "block/" * 30 + "kernel"
    lines = to_text(table(("address", "status"), [(address, "trains")])).splitlines()
    assert max(map(len, lines)) <= 100
    assert "".join(line.split(" ")[0] for line in lines[1:]) == address


def test_a_word_of_the_styles_has_its_colour_and_longer_text_has_none() -> None:
    console = Console(force_terminal=True, color_system="standard", width=80)
    with console.capture() as captured:
        console.print(table(("status",), [("trains",), ("trains/kernel",)]))
    lines = captured.get().splitlines()
    assert lines[1].startswith("\x1b[1;32mtrains")
    assert lines[2].strip() == "trains/kernel"


class Record(Rendered):
    def __rich__(self) -> object:
        return stacked("one", "", MARKUP)


def test_a_record_prints_as_plain_text() -> None:
    assert str(Record()) == f"one\n\n{MARKUP}"


def test_a_record_shows_in_notebooks_as_text_and_as_escaped_html() -> None:
    bundle = Record()._repr_mimebundle_(include=[], exclude=[])
    assert "[bold]head[/bold]/kernel" in bundle["text/html"]
    assert "[bold]head[/bold]/kernel" in bundle["text/plain"]
