"""What differs between two descriptions of a run, in words."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from frostline.model.code_identity import digest_of

_MOST = 6
_NAMES = ("class_name", "class", "partial of", "name", "layer", "module")
_NUMBERS = re.compile(r"_\d+(?=/|$)")
_SHAPES_OF_DIGESTS = ({"array", "values"}, {"number"}, {"bytes"}, {"set"}, {"variable", "value"})


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one phrase for each thing that differs, such as `dropout/rate: 0.9, was 0.3`.

    Args:
        then: What `Description` returned for named things when a run began.
        now: What it returns for this call.
    """
    found = list(_in_mappings(then, now, ()))
    told = [phrase for phrase in found if not phrase.endswith(_ELSEWHERE)]
    # Where code is named in full at one place, the places that only refer to it say nothing more.
    return list(dict.fromkeys(told or found))


def renumbered(then: Iterable[str], now: Iterable[str]) -> dict[str, str]:
    """Return the present address of each earlier one, where Keras numbered layers without names otherwise.

    The first `dense` of a model is its first one in any process, whatever the number behind it.
    """
    before, present = list(then), list(now)
    if set(before) == set(present):
        return {address: address for address in before}
    found = {place: address for address, place in _ordinals(present)}
    return {address: found.get(place, address) for address, place in _ordinals(before)}


def _ordinals(addresses: Iterable[str]) -> Iterator[tuple[str, tuple[str, int]]]:
    seen: Counter[str] = Counter()
    for address in addresses:
        name = _NUMBERS.sub("", address)
        yield address, (name, seen[name])
        seen[name] += 1


def shortened(phrases: Iterable[str]) -> str:
    """Return phrases as one, cut after some of them."""
    every = list(phrases)
    more = f"; and {len(every) - _MOST} more" if len(every) > _MOST else ""
    return "; ".join(every[:_MOST]) + more


_ELSEWHERE = ": differs in what it refers to"


def _in_mappings(then: Mapping[str, Any], now: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[str]:
    for name in dict.fromkeys((*now, *then)):
        if name not in then or name not in now:
            values = (_short(one[name]) if name in one else "left out" for one in (now, then))
            yield "{}: {}, was {}".format(_place((*at, name)), *values)
        else:
            yield from _in_values(then[name], now[name], (*at, name))


def _in_values(then: Any, now: Any, at: tuple[str, ...]) -> Iterator[str]:
    if _same(then, now) or (_is_unknown(then) and _is_unknown(now)):
        return
    if at[-1:] == ("code",) and isinstance(then, dict) and isinstance(now, dict):
        yield from [f"{_place(at[:-1])}: its code differs"] if _other_code(then, now) else []
    elif _refers(then) or _refers(now):
        yield from [f"{_place(at)}{_ELSEWHERE}"] if _digest(then) != _digest(now) else []
    elif _is_structure(then) and _is_structure(now):
        yield from _in_mappings(then, now, at)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _in_values(one, other, (*at, str(number)))
    else:
        yield f"{_place(at)}: {_short(now)}, was {_short(then)}"


def not_comparable(then: Any, now: Any, at: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the places where both sides hold code that was told in ways that cannot be compared."""
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return
    for name in then.keys() & now.keys():
        one, other = then[name], now[name]
        if (
            name == "code"
            and isinstance(one, dict)
            and isinstance(other, dict)
            and not _comparable(one, other)
        ):
            yield f"{_place(at)}: its code, whose source could be read in one of the processes only"
        else:
            yield from not_comparable(one, other, (*at, name))


def _comparable(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return ("tree" in then and "tree" in now) or then.get("python") == now.get("python")


def _other_code(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if "tree" in then and "tree" in now:
        return bool(then["tree"] != now["tree"])
    return _comparable(then, now) and then.get("instructions") != now.get("instructions")


def _same(then: Any, now: Any) -> bool:
    # As text, since 1, 1.0 and True are equal otherwise.
    return json.dumps(then, sort_keys=True) == json.dumps(now, sort_keys=True)


def _refers(value: Any) -> bool:
    return isinstance(value, dict) and set(value) in ({"as"}, {"again"})


def _digest(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"as"}:
        return value["as"]
    return digest_of(value)


def _is_unknown(value: Any) -> bool:
    return isinstance(value, dict) and "not compared" in value


def _is_structure(value: Any) -> bool:
    return isinstance(value, dict) and set(value) not in _SHAPES_OF_DIGESTS and not _is_unknown(value)


def _place(at: tuple[str, ...]) -> str:
    """Return a place in words: `config` and the like, which only say how Keras nests, are left out."""
    kept = [name for name in at if name not in ("config", "class_name")]
    return "/".join(kept) or "/".join(at)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = _named(value)
        return value if len(value) <= 60 else f"{value[:60]}…"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _named(value: Mapping[str, Any]) -> str:
    """Return a few words for what a mapping describes."""
    if "array" in value:
        return f"{value['array']} with the digest {value['values'][:8]}"
    for key in ("not compared", "number", "value", *_NAMES):
        if key in value and isinstance(value[key], str):
            return str(value[key]).rpartition(".")[2] if key in _NAMES else str(value[key])
    if isinstance(value.get("class"), dict):
        return str(value["class"].get("class", "another class"))
    return "a function" if "code" in value else json.dumps(value, sort_keys=True)
