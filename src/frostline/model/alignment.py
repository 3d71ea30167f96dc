"""Addresses of one copy of a model in terms of another's.

Keras numbers layers that get no name as they come: `dense_3` in one process is `dense` in the next, and
`dense_7` in the second copy in one process. Their order stays. Such names, and no others, may be told by it:
a name that somebody gave says which layer is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from frostline.errors import listed
from frostline.render.foreign import warn

NUMBERED = "*"
"""Stands in a stem for the number of a name that Keras made."""

_NUMBER = r"(?:_(\d+))?"
_DIGITS = 4000
"""Python makes no number of more than 4,300."""

_NEIGHBOUR = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a weight or a layer beside its address.

    Attributes:
        kind: What it is: its shape and dtype, say.
        stem: Its address with `*` for the number of each name that Keras made (`dense*/kernel`); None where
            that was not recorded.
        former: The same as Frostline 0.1 had it, where that was another: `backbone/variable*` for what is
            `backbone/0/weight` now.
        unknown_to_0_1: Whether Frostline 0.1 did not record such state at all.
    """

    kind: object
    stem: str | None = None
    former: str = ""
    unknown_to_0_1: bool = False


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which address in one copy of a model belongs to which in another.

    Attributes:
        names: The present address for each saved one. One that has no counterpart stands for itself.
        by_order: Those of them that differ, and are told by their order alone.
    """

    names: Mapping[str, str]
    by_order: Mapping[str, str] = field(default_factory=dict)


def align(
    saved: Mapping[str, Known], present: Mapping[str, Known], *, renamed: bool = False, strict: bool = False
) -> Alignment:
    """Return the present address for each saved one.

    Where the addresses differ in nothing but the numbers of names that Keras made, and these numbers come in
    the same order, those at the same place in the order of the model belong together. Otherwise each address
    is taken to be itself.

    Args:
        saved: The weights or layers of the copy that was saved, in the order of the model.
        present: Those of the copy that is there now.
        renamed: Whether a layer that has a name by Keras now may have had any name, as in a model that was
            made from its configuration: Keras gives a custom layer without `get_config` a new name.
        strict: Whether to tell nothing by its order.
    """
    names = {address: address for address in saved}
    if len(saved) < len(present):
        # What an older file does not tell of; what it tells may still be told by its order.
        present = {a: one for a, one in present.items() if a in saved or not one.unknown_to_0_1}
    if strict or saved.keys() == present.keys() or len(saved) != len(present):
        return Alignment(names)
    pairs = list(zip(saved, present, strict=True))
    fits = all(
        saved[one].kind == present[other].kind and _same_but_for_numbers(one, saved, other, present, renamed)
        for one, other in pairs
    )
    if not fits or not _numbers_in_order(pairs, saved, present, renamed):
        return Alignment(names)
    return Alignment(names | dict(pairs), {one: other for one, other in pairs if one != other})


def _same_but_for_numbers(
    one: str, saved: Mapping[str, Known], other: str, present: Mapping[str, Known], renamed: bool
) -> bool:
    if one == other:
        return True
    then, now = saved[one].stem, present[other].stem or other
    return _has_stems(one, then, now, renamed) or _is_former(one, saved[one], present[other], renamed)


def _is_former(one: str, saved: Known, present: Known, renamed: bool) -> bool:
    """Whether an address is the one that Frostline 0.1 had for a variable."""
    return bool(present.former) and _has_stems(one, saved.stem, present.former, renamed)


def _has_stems(one: str, then: str | None, now: str, renamed: bool) -> bool:
    if then is not None and not renamed:
        return then == now
    names, stems = one.split("/"), now.split("/")
    return len(names) == len(stems) and all(
        (renamed and stem.endswith(NUMBERED)) or _has_stem(name, stem)
        for name, stem in zip(names, stems, strict=True)
    )


def _has_stem(name: str, stem: str) -> bool:
    if not stem.endswith(NUMBERED):
        return name == stem
    return re.fullmatch(re.escape(stem[: -len(NUMBERED)]) + _NUMBER, _NEIGHBOUR.sub("", name)) is not None


def _numbers_in_order(
    pairs: Iterable[tuple[str, str]], saved: Mapping[str, Known], present: Mapping[str, Known], renamed: bool
) -> bool:
    """Whether the names of each class have numbers that rise and fall alike in both copies.

    Keras counts upwards, so a layer made earlier has the lower number in each of them.
    """
    numbers: dict[str, set[tuple[int, int]]] = {}
    for place, (one, other) in enumerate(pairs):
        if one != other and _is_former(one, saved[one], present[other], renamed):
            # Keras numbered the tensors of a module as they stand in it.
            numbers.setdefault(present[other].former, set()).add((_number(one), place))
        elif not renamed:
            for stem, then, now in _numbers(one, other, present[other].stem or other):
                numbers.setdefault(stem, set()).add((then, now))
    return all(_rise_alike(sorted(found)) for found in numbers.values())


def _numbers(one: str, other: str, address_stem: str) -> Iterator[tuple[str, int, int]]:
    names = zip(one.split("/"), other.split("/"), address_stem.split("/"), strict=True)
    for then, now, stem in names:
        if stem.endswith(NUMBERED):
            yield stem, _number(then), _number(now)


def _number(name: str) -> int:
    found = re.search(_NUMBER + "$", _NEIGHBOUR.sub("", name))
    return int(found[1][:_DIGITS]) if found and found[1] else 0


def _rise_alike(found: list[tuple[int, int]]) -> bool:
    """Whether pairs of numbers, sorted by the first, rise by the second, none of them twice."""
    return all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))


def former_names(names: Mapping[str, str], present: Mapping[str, Known]) -> dict[str, str]:
    """Return the present address for each of those that Frostline 0.1 named otherwise than it is done now."""
    return {
        one: other
        for one, other in names.items()
        if other in present
        and _has_stems(one, None, present[other].former, True)
        and not _has_stems(one, None, present[other].stem or other, True)
    }


def warn_of_former_names(what: str, former: Mapping[str, str]) -> None:
    """Say that weights were told by their order, since Frostline 0.1 had other names for them.

    Args:
        what: What has the names, for the message.
        former: From `former_names`.
    """
    pairs = listed((f"{one} as {other}" for one, other in former.items()), most=2)
    warn(
        f"{what} was written by Frostline 0.1, which named the tensors of a module as Keras numbers them; "
        f"they were told by their order: {pairs}",
        stacklevel=4,
    )


def stem_of_name(name: str, automatic: str) -> str:
    """Return a name without its number if Keras made it, as `automatic*`; else the name itself.

    Args:
        name: A name, such as `dense_3`. `forward_lstm_3` is one too: `Bidirectional` makes it.
        automatic: What Keras calls objects of its class, such as `dense`.
    """
    pattern = rf"((?:forward_|backward_)?{re.escape(automatic)}){_NUMBER}"
    made = re.fullmatch(pattern, _NEIGHBOUR.sub("", name))
    return f"{made[1]}{NUMBERED}" if made else name


def renamed(names: Mapping[str, str], addresses: Iterable[str]) -> list[str]:
    """Return addresses with their present names.

    They may be those of parts (`layer/kernel:rows`), or keys of what an optimizer remembers, with a mark in
    front (`joined:layer/kernel`) or a number behind (`layer/kernel@1`).
    """
    found = []
    for address in addresses:
        pieces = re.split(r"(:|@)", address)
        found.append("".join(names.get(piece, piece) for piece in pieces))
    return found
