"""Files of which something is not as it was written: single bytes, and headers of safetensors files.

Import as `from helpers.altered_files import every_byte, altered_headers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

Header = dict[str, Any]


def every_byte(raw: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """Copies with another value of one byte, for each of the places."""
    rng = np.random.default_rng(7)
    for place in places:
        other = (raw[place] + int(rng.choice([1, 32, 128, rng.integers(1, 256)]))) % 256
        yield raw[:place] + bytes([other]) + raw[place + 1 :]


def end_of_header(raw: bytes) -> int:
    """Where the values of a safetensors file begin."""
    return 8 + int.from_bytes(raw[:8], "little")


def header_of(raw: bytes) -> Header:
    """The header of a safetensors file."""
    return dict(json.loads(raw[8 : end_of_header(raw)]))


def with_header(raw: bytes, header: Header | str) -> bytes:
    """The same values under another header."""
    text = header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))
    encoded = text.encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + raw[end_of_header(raw) :]


SAME_SIZE = (
    ("F64", "I64", "U64"),
    ("F32", "I32", "U32"),
    ("F16", "BF16", "I16", "U16"),
    ("I8", "U8", "BOOL"),
)


def altered_headers(raw: bytes, *, digested: bool = True) -> Iterator[tuple[str, bytes]]:
    """Whole safetensors files that say something else of the same values; each with what was done to it.

    Args:
        raw: The file.
        digested: Whether also what no check can find without a digest: values that change places.
    """
    header = header_of(raw)
    names = [name for name in header if name != "__metadata__"]

    def changed(change: Callable[[Header], Any]) -> bytes:
        copy = json.loads(json.dumps(header))
        change(copy)
        return with_header(raw, copy)

    for name in names:
        dtype, shape = header[name]["dtype"], header[name]["shape"]
        for other in next(kinds for kinds in SAME_SIZE if dtype in kinds):
            if other != dtype:
                yield f"{name}: {other}", changed(lambda h: h[name].update(dtype=other))  # noqa: B023
        for other_shape in ([int(np.prod(shape))], shape[::-1], [1, *shape], [*shape, 1]):
            if other_shape != shape:
                yield f"{name}: {other_shape}", changed(lambda h: h[name].update(shape=other_shape))  # noqa: B023
        yield f"{name} is renamed", changed(lambda h: h.update({name + "x": h.pop(name)}))  # noqa: B023
        for twin in names if digested else ():
            if twin > name and size_of(header[twin]) == size_of(header[name]):
                yield f"{name} and {twin} change places", changed(lambda h: exchange(h, name, twin))  # noqa: B023
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    yield "an empty tensor more", changed(lambda h: h.update(more=empty))
    text = json.dumps(header, separators=(",", ":"))
    first = json.dumps(header[names[0]] | {"dtype": "I32"}, separators=(",", ":"))
    yield "a name twice", with_header(raw, f"{text[:-1]},{json.dumps(names[0])}:{first}}}")
    if "__metadata__" in header:
        yield "no metadata", changed(lambda h: h.pop("__metadata__"))
        yield "metadata of null", changed(lambda h: h.update(__metadata__=None))


def size_of(tensor: Any) -> int:
    """How many bytes a tensor takes."""
    begin, end = tensor["data_offsets"]
    return int(end - begin)


def exchange(header: Header, one: str, other: str) -> None:
    """Let two tensors change places."""
    a, b = header[one], header[other]
    a["data_offsets"], b["data_offsets"] = b["data_offsets"], a["data_offsets"]
