"""Globs on addresses: what they match, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.errors import SelectorError
from frostline.plan.globs import read_glob

SIGNS = "*?[]{}"
names = st.text(st.characters(codec="utf-8", exclude_characters="/" + SIGNS), min_size=1, max_size=8)
addresses = st.lists(names, min_size=1, max_size=4).map("/".join)


def matches(pattern: str, address: str) -> bool:
    return read_glob(pattern).fullmatch(address)


@given(addresses, addresses)
def test_a_literal_address_matches_itself_only(one: str, other: str) -> None:
    assert matches(one, one)
    assert matches(one, other) == (one == other)


@given(addresses, st.text(max_size=3), st.text(max_size=3))
def test_a_match_is_a_full_match(address: str, before: str, behind: str) -> None:
    assert matches(address, before + address + behind) == (before + address + behind == address)


@given(st.lists(names, min_size=1, max_size=4), names, names)
def test_two_stars_between_stand_for_any_number_of_segments(inner: list[str], first: str, last: str) -> None:
    assert matches(f"{first}/**/{last}", f"{first}/{last}")
    assert matches(f"{first}/**/{last}", "/".join((first, *inner, last)))


@given(addresses, names)
def test_two_stars_at_the_end_stand_for_one_segment_or_more(address: str, first: str) -> None:
    assert matches("**", address)
    assert matches(f"{first}/**", f"{first}/{address}")
    assert not matches(f"{first}/**", first)
    assert not matches(f"{first}/**", f"{first}/")


@given(addresses, names)
def test_two_stars_at_the_start_stand_for_any_number_of_segments(address: str, last: str) -> None:
    assert matches(f"**/{last}", last)
    assert matches(f"**/{last}", f"{address}/{last}")
    assert not matches(f"**/{last}", f"{address}-{last}")


@given(addresses)
def test_one_star_stands_within_a_segment(address: str) -> None:
    assert matches("*", address) == ("/" not in address)
    assert matches("/".join("*" for _ in address.split("/")), address)


@given(st.lists(names.filter(lambda name: "," not in name), min_size=1, max_size=4), addresses)
def test_braces_stand_for_each_of_their_names(alternatives: list[str], address: str) -> None:
    pattern = f"a/{{{','.join(alternatives)},longer name}}/b"
    assert all(matches(pattern, f"a/{name}/b") for name in alternatives)
    assert matches(pattern, f"a/{address}/b") == (address in (*alternatives, "longer name"))


@given(addresses.filter(lambda address: "," not in address), st.sampled_from(SIGNS))
def test_a_sign_in_brackets_stands_for_itself(address: str, sign: str) -> None:
    assert matches(f"{address}[{sign}]", address + sign)
    assert not matches(f"{address}[{sign}]", address + "x")


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("block_?/kernel", "block_1/kernel", True),
        ("block_?/kernel", "block_10/kernel", False),
        ("a?b", "a/b", False),
        ("block_[0-4]/**", "block_3/kernel", True),
        ("block_[0-4]/**", "block_5/kernel", False),
        ("block_[!0-4]/*", "block_5/kernel", True),
        ("a[!x]b", "a/b", False),
        ("x[^]y", "x^y", True),
        ("x[a&&b]y", "x&y", True),
        ("{a,b/*}/kernel", "b/c/kernel", True),
        ("{a,b{1,2,3}}/kernel", "b2/kernel", True),
        ("{**/query,head}/kernel", "block/attention/query/kernel", True),
        ("a.b+c", "aXbbc", False),
        ("a,b", "a,b", True),
        ("A", "a", False),
        ("a/**/**/b", "a/b", True),
    ],
)
def test_examples(pattern: str, address: str, expected: bool) -> None:
    assert matches(pattern, address) is expected


BALANCED = "balanced signs; a glob knows * ** ? {a,b} [0-9] [!0-9]"
IN_FULL = "the names in full, {1,2,3}, or a range of digits, [1-3]; a count needs a regular expression"
SEGMENT = "'**' as a whole segment, as in 'a/**/b'"


@pytest.mark.parametrize(
    ("pattern", "what", "expected"),
    [
        ("a**/b", "'**' next to other signs, at position 2", SEGMENT),
        ("a/**b", "'**' next to other signs, at position 3", SEGMENT),
        ("a/***", "'**' next to other signs, at position 3", SEGMENT),
        ("block_[0-4/kernel", "a '[' without its ']', at position 7", BALANCED),
        ("block_0]/kernel", "a ']' without its '[', at position 8", BALANCED),
        ("{a,b/kernel", "a '{' without its '}', at position 1", BALANCED),
        ("a}/kernel", "a '}' without its '{', at position 2", BALANCED),
        ("block_[4-0]", "the range '4-0', at position 7", "a range such as [0-9]"),
        ("block_{0..4}/*", "{0..4}, which a glob does not have, at position 7", IN_FULL),
        ("block_{-1..a}", "{-1..a}, which a glob does not have, at position 7", IN_FULL),
        ("a{2,}", "{2,}, which a glob does not have, at position 2", IN_FULL),
        ("a{,2}", "{,2}, which a glob does not have, at position 2", IN_FULL),
    ],
)
def test_an_unreadable_glob_is_refused(pattern: str, what: str, expected: str) -> None:
    with pytest.raises(SelectorError) as caught:
        read_glob(pattern)
    assert str(caught.value) == f"the glob {pattern!r} has {what}.\n  expected: {expected}"
