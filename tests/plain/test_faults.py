"""The benchmark of faults: headers, marks and twins are in order, and the draw can be repeated."""

from __future__ import annotations

import pytest
from benchmarks.faults import programs, sources
from benchmarks.faults.tables import row, table

EVERY = programs.every()
KEPT = sources.collected()


@pytest.mark.parametrize("fault", EVERY, ids=[fault.name for fault in EVERY])
def test_header(fault: programs.Fault) -> None:
    assert programs.complaints(fault, {entry["id"] for entry in KEPT["programs"]}) == []


def test_there_are_enough_of_each_kind() -> None:
    assert len(EVERY) >= 150
    assert {fault.kind for fault in EVERY} == set(programs.KINDS)
    for backend in programs.BACKENDS:
        assert len(programs.every(backend)) >= 145


def test_the_draw_can_be_repeated() -> None:
    """What was drawn is what the seed draws, but for those replaced, each for a reason that is listed."""
    replaced = KEPT["replaced"]
    drawn = [name for name in sources.draw(KEPT) if name not in replaced]
    assert [name for name in KEPT["drawn"] if name in drawn] == drawn
    assert set(KEPT["drawn"]) - set(drawn) <= set(sources.order(KEPT)[KEPT["count"] :])
    assert {entry["left_out"] for entry in KEPT["programs"] if "left_out" in entry} <= set(KEPT["rules"])


def test_every_drawn_program_is_re_created_and_no_other() -> None:
    published = {entry["id"] for entry in KEPT["programs"]}
    used = [fault.header["source"] for fault in EVERY if fault.header["source"] in published]
    assert sorted(used) == sorted(KEPT["drawn"])
    assert len(used) >= len(EVERY) / 3


def test_a_twin_differs_in_its_mended_lines_alone() -> None:
    text = "a = 1\nif a:\n    b = 2  # <- here\n    # mended: b = 3\n    # mended: c = 4\nd = 5\n"
    fault = programs.Fault("x", programs.FOLDER / "x.py", "doc", {"kind": "cut"}, text)
    assert fault.mended == "a = 1\nif a:\n    b = 3\n\n    c = 4\nd = 5\n"
    assert fault.marks == {3}


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("a/*", "a/kernel", True),
        ("a/*", "net/a/kernel", True),
        ("*/kernel", "a/kernel", True),
        ("a/kernel", "ba/kernel", False),
        ("w", "w", True),
    ],
)
def test_addresses(pattern: str, address: str, expected: bool) -> None:
    assert programs.matches(pattern, address) is expected


def test_counts() -> None:
    found = {"found": True, "reason": True, "line": None, "layer": None, "false_alarms": [], "raised": ""}
    missed = {
        "found": False,
        "reason": False,
        "line": None,
        "layer": None,
        "false_alarms": ["x"],
        "raised": "y",
    }
    told = row("K1", [found, missed])
    assert told == ("K1", "2", "1", "50%", "50%", "1/2", "-", "-", "1", "1")
    assert table(("a", "bc"), [("x", "y")]) == "| a | bc |\n| - | -- |\n| x | y  |"
