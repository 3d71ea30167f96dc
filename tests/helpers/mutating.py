"""Files that are nearly whole: altered byte by byte, and by what their format is made of."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any

_MOST = 1 << 18
"""Bytes that a file grows to here."""

Bytes = Callable[[bytes, random.Random], bytes]

_TOKENS = [
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"'",
        b":",
        b",",
        b"\n",
        b"\r",
        b"\t",
        b" ",
        b"\0",
        b"\\",
        b"#",
        b"-",
        b"- ",
    ),
    *(
        b"? ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!python/object:os.system ",
        b"!!int ",
        b"!!binary ",
        b"!x ",
        b"|",
        b">",
    ),
    *(b"---\n", b"...\n", b"%YAML 9.9\n", b"%TAG ! x\n", b"null", b"true", b"NaN", b"Infinity", b"-Infinity"),
    *(
        b"1e999",
        b"-1",
        b"0",
        b"0x" + b"f" * 300,
        b"9" * 400,
        b"9" * 5000,
        b"1:30:59",
        b"2020-01-01",
        b"1_000",
    ),
    *(b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\U00110000", b"\xe2\x80\xae"),
    *(b"[" * 200, b"{" * 200, b"[" * 20000, b"- " * 2000, b"{a: " * 500, b'{"a":' * 5000, b"x" * 70000),
    *(
        b"\x1b[31m",
        b"PK\3\4",
        b"PK\1\2",
        b"PK\5\6",
        b"\x93NUMPY",
        b"\x89PNG",
        b"%!PS-Adobe EPSF",
        b"\x80\x04.",
    ),
    *(b"re:(a+)+$", b"**/" * 50, b"__class__", b"builtins", b"pickle", b"lambda"),
]
_NUMBERS = [0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1]
_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**64, 10**400, 1.5, 1e308, float("nan"), float("inf")),
    *("", "x", "\0", "\ud800", "x" * 5000, "head/**", "re:(", "../../x", "/dev/zero", "a:b", "\x1b[0m"),
    *([], {}, [[]], [0], {"": None}, [[[[1]]]], {"any": []}, {"class_name": "Lambda"}),
]


def by_bytes(data: bytes, rng: random.Random) -> bytes:
    """Alter some bytes: flip, cut, insert, repeat, exchange, or write a number over them."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(len(found) + 1)
        end = min(len(found), place + rng.choice((1, 2, 4, 8, 64, 1000)))
        kind = rng.randrange(7)
        if kind == 0 and place < len(found):
            found[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[place:end]
        elif kind in (2, 3):
            found[place:place] = rng.choice(_TOKENS)
        elif kind == 4:
            found[place:place] = found[place:end] * rng.choice((1, 3, 50))
        elif kind == 5:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(_NUMBERS) % (1 << 8 * width)
            found[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))
        else:
            found[place:end] = bytes(rng.randrange(256) for _ in range(end - place))
    return bytes(found[:_MOST])


def by_value(data: Any, rng: random.Random) -> Any:
    """Alter one value, or one key, somewhere in plain data."""
    if rng.random() < 0.3 or not data or not isinstance(data, dict | list):
        return rng.choice(_VALUES) if rng.random() < 0.8 else nested(rng)
    if isinstance(data, list):
        place = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            return [*data[:place], *data[place + 1 :]]
        if kind == 1:
            return [*data, *data]
        return [*data[:place], by_value(data[place], rng), *data[place + 1 :]]
    key = rng.choice(list(data))
    kind = rng.randrange(5)
    if kind == 0:
        return {k: v for k, v in data.items() if k != key}
    if kind == 1:
        return {**data, str(rng.choice(["", "x", "rules", "phases", "\0", key + " "])): rng.choice(_VALUES)}
    return {**data, key: by_value(data[key], rng)}


def nested(rng: random.Random) -> Any:
    """Lists or mappings in one another, around where they are refused."""
    found: Any = 1
    for _ in range(rng.choice((10, 95, 105, 300))):
        found = [found] if rng.random() < 0.5 else {"a": found}
    return found


def as_json(data: bytes, rng: random.Random) -> bytes:
    try:
        text = json.dumps(by_value(json.loads(data), rng))
    except (ValueError, RecursionError):
        return by_bytes(data, rng)
    return text.encode("utf-8", "surrogatepass")


def as_yaml(data: bytes, rng: random.Random) -> bytes:
    import yaml

    try:
        plain = by_value(yaml.safe_load(data), rng)
        # Aliases where one value stands twice, as `by_value` makes them.
        return yaml.safe_dump(plain, allow_unicode=True, default_flow_style=rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    # PyYAML's own, which no product code calls, raises more than it says: an IndexError for `!!int ""`.
    except (ValueError, yaml.YAMLError, RecursionError, AttributeError, LookupError, TypeError):
        return by_bytes(data, rng)


def as_archive(inner: Bytes) -> Bytes:
    """Alter what stands in a member, or how the members are put together."""

    def alter(data: bytes, rng: random.Random) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                listed = [info for info in archive.infolist() if info.file_size < _MOST]
                members = [(info.filename, archive.read(info)) for info in listed]
        except Exception:
            return by_bytes(data, rng)
        if not members:
            return by_bytes(data, rng)
        place, kind = rng.randrange(len(members)), rng.randrange(6)
        name, content = members[place]
        if kind <= 2:
            members[place] = name, inner(content, rng)
        elif kind == 3:
            members[place] = (
                rng.choice(["../x", "/etc/x", "", name + "\0x", "x" * 300, "C:x", name.upper()]),
                content,
            )
        elif kind == 4:
            members.append(rng.choice([(name, content), (name, b""), ("zeros.npy", bytes(1 << 22))]))
        else:
            del members[place]
        stream = io.BytesIO()
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with zipfile.ZipFile(stream, "w", method) as archive:
                for name, content in members:
                    archive.writestr(name or "x", content)
        packed = stream.getvalue()
        return _flags(packed, rng) if rng.random() < 0.2 else packed

    return alter


def _flags(packed: bytes, rng: random.Random) -> bytes:
    """Alter the fields of the heads of members: method, flags, sizes."""
    places = [found.start() for found in re.finditer(re.escape(b"PK\1\2"), packed)]
    if not places:
        return packed
    found, place = bytearray(packed), rng.choice(places)
    field, width = rng.choice(((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)))
    found[place + field : place + field + width] = (rng.choice(_NUMBERS) % (1 << 8 * width)).to_bytes(
        width, "little"
    )
    return bytes(found)


def as_npy(data: bytes, rng: random.Random) -> bytes:
    """Alter a head of NumPy's, its length kept right."""
    if data[:6] != b"\x93NUMPY" or rng.random() < 0.3:
        return by_bytes(data, rng)
    length = int.from_bytes(data[8:10], "little")
    head = data[10 : 10 + length]
    words = {
        rb"'<f4'": (
            b"'|O'",
            b"'<f8'",
            b"'>f4'",
            b"'V9'",
            b"'<U0'",
            b"'<M8[D]'",
            b"[('a', '<f4')]",
            b"('<f4', (2,))",
        ),
        rb"\(\d.*?\)": (
            b"()",
            b"(0,)",
            b"(1, 0)",
            b"(-1,)",
            b"(10**9,)",
            b"(99999999999, 9999)",
            b"(True,)",
            b"x",
        ),
        rb"False": (b"True", b"None", b"1", b"()"),
        rb"'descr'": (b"'desc'", b"0", b"[]"),
    }
    pattern = rng.choice(list(words))
    head = (
        re.sub(pattern, lambda _: rng.choice(words[pattern]), head)
        if rng.random() < 0.8
        else by_bytes(head, rng)
    )
    head = head[:60000]
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    size = len(head).to_bytes(2 if version[0] == 1 else 4, "little")
    return data[:6] + version + size + head + data[10 + length :]


def as_tensors(data: bytes, rng: random.Random) -> bytes:
    """Alter a head of safetensors, its length kept right."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data) or rng.random() < 0.3:
        return by_bytes(data, rng)
    head = (as_json if rng.random() < 0.7 else by_bytes)(data[8 : 8 + length], rng)
    if rng.random() < 0.3:
        head = re.sub(
            rb'"(F32|I64|U8|BOOL)"', lambda _: rng.choice((b'"BF16"', b'"F8_E8M0"', b'"F4"', b'"C64"')), head
        )
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def as_lines(data: bytes, rng: random.Random) -> bytes:
    """Alter a table by its lines and cells."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    cells = re.split(rb"([, \t])", lines[place])
    kind = rng.randrange(5)
    if kind == 0:
        cells[rng.randrange(len(cells))] = rng.choice(_TOKENS)
    elif kind == 1:
        lines[rng.randrange(len(lines))] = lines[place]
    elif kind == 2:
        cells = cells * rng.choice((2, 50)) if len(lines[place]) < 5000 else cells[:50]
    elif kind == 3:
        return by_bytes(data, rng)
    else:
        cells[rng.randrange(len(cells))] = rng.choice(
            (b'"a\nb"', b'"', b'"a""b"', b"1_0", b"\xc2\xb2", b"nan", b"7 3")
        )
    lines[place] = b"".join(cells)
    return b"\n".join(lines)


def _by_content(data: bytes, rng: random.Random) -> bytes:
    kind = as_npy if data[:6] == b"\x93NUMPY" else as_json if data[:1] == b"{" else by_bytes
    return kind(data, rng)


GRAMMARS: dict[str, Bytes] = {
    ".yaml": as_yaml,
    ".json": as_json,
    ".npy": as_npy,
    ".npz": as_archive(_by_content),
    ".keras": as_archive(_by_content),
    ".safetensors": as_tensors,
    ".vec": as_lines,
    ".csv": as_lines,
}
"""By the ending of a name."""


def mutated(data: bytes, ending: str, rng: random.Random) -> bytes:
    """Return a file that was altered, by its grammar or by its bytes."""
    grammar = GRAMMARS.get(ending, by_bytes)
    found = data
    for _ in range(rng.choice((1, 1, 2, 5))):
        found = (grammar if rng.random() < 0.6 else by_bytes)(found, rng)[:_MOST]
    return found
