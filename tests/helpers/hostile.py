"""Files whose content is a trap, by the reader that they are for, and what is said of them."""

from __future__ import annotations

import io
import json
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline.errors import FrostlineError
from helpers.readers import READERS, keras_archive, npy, npz, placed, zipped

SECONDS = 5.0
MEMORY = 500 << 10
"""Kilobytes."""

LARGE = 128 << 20
"""Twice what anything may unpack to; `deflate` packs zeros to a thousandth."""


class Opened:
    """Made again from a pickle, it leaves a mark."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("pickle-was-run").touch, ())


def unpacking_to(
    size: int, name: str = "x.npy", head: bytes = b"", method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """An archive of some kilobytes whose one member unpacks to so many zeros behind a head."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive, archive.open(name, "w") as member:
        member.write(head)
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return stream.getvalue()


def large_npz() -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (LARGE,)})
    return unpacking_to(LARGE, head=head.getvalue())


def with_fields(packed: bytes, *fields: tuple[int, int, int]) -> bytes:
    """An archive with fields of its first member altered, in its own head and in the list at the end."""
    found = bytearray(packed)
    for place, begin in ((packed.index(b"PK\3\4"), 0), (packed.index(b"PK\1\2"), 2)):
        for field, width, value in fields:
            at = place + field + begin
            found[at : at + width] = value.to_bytes(width, "little")
    return bytes(found)


def several(*members: tuple[str, bytes]) -> bytes:
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def listing(members: int) -> bytes:
    """An archive that lists a member so many times, and has none."""
    one = (
        b"PK\1\2"
        + struct.pack("<4B4HL2L5H2L", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0)
        + b"x.json"
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, members % 65536, members % 65536, members * len(one), 0, 0)
    return one * members + end


def listing_behind_a_false_mark() -> bytes:
    """The same, whose counts look like the mark of another record: where Python's reader does not look."""
    return listing(1 << 18)[:-22] + struct.pack("<4s4s4sLLH", b"PK\5\6", bytes(4), b"PK\5\6", 52 << 18, 0, 0)


def npy_head(shape: str, dtype: str = "'<f4'", version: int = 1, length: int | None = None) -> bytes:
    head = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = (len(head) if length is None else length).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + size + head + bytes(24)


def tensors_head(head: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(head) if length is None else length) + head + bytes(24)


def png(width: int, height: int) -> bytes:
    """An image of zeros, which packs to a thousandth."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    packer, packed = zlib.compressobj(9), b""
    for _ in range(height):
        packed += packer.compress(bytes(1 + 3 * width))
    packed += packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def edited(name: str, **keys: Any) -> Callable[[], bytes]:
    """The JSON of a reader's whole file with other keys."""
    return lambda: json.dumps({**json.loads(READERS[name].whole()), **keys}).encode()


DEEP = 100_000
TOO_DEEP = "are nested too deeply, or contain themselves: more than 100 levels"
_LONG = "a number of 5,000 characters, 999999999999..., where numbers have at most 100"
_PICKLED = "it holds Python objects, which are never unpickled"
_BOMB = "the archive unpacks from "

CASES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "plan nested deeply": ("plan", lambda: b"rules: " + b"[" * DEEP, f"line 1: lists or mappings {TOO_DEEP}"),
    "plan nested deeply by lines": ("plan", lambda: b"- " * DEEP, f"line 1: lists or mappings {TOO_DEEP}"),
    "plan in JSON nested deeply": (
        "plan in JSON",
        lambda: b"[" * DEEP + b"]" * DEEP,
        f"lists or mappings {TOO_DEEP}",
    ),
    "plan in JSON of mappings": ("plan in JSON", lambda: b'{"a":' * DEEP, f"lists or mappings {TOO_DEEP}"),
    "plan with a long number": (
        "plan",
        lambda: b"frostline: " + b"9" * 5000,
        "a number is too long.\n  received: 999999999999..., of 5,000",
    ),
    "plan with a long number in hex": (
        "plan",
        lambda: b"frostline: 0x" + b"f" * 5000,
        "a number is too long",
    ),
    "plan in JSON with a long number": (
        "plan in JSON",
        lambda: b'{"frostline": ' + b"9" * 5000 + b"}",
        _LONG,
    ),
    "plan that makes an object": (
        "plan",
        lambda: b"frostline: 1\nrules:\n- train: !!python/object/apply:os.system [echo]\n",
        "line 3: the tag '!!python/object/apply:os.system' is not read.\n"
        "  expected: text, numbers, lists and mappings; nothing in a file is made an object, or run\n"
        "  fix:      take the tag out",
    ),
    "plan with bytes": ("plan", lambda: b"frostline: !!binary aGk=\n", "the tag '!!binary' is not read"),
    "plan with a tag of its own": (
        "plan",
        lambda: b"frostline: 1\nrules: !mine []",
        "the tag '!mine' is not read",
    ),
    "plan with a tag that does not fit": (
        "plan",
        lambda: b"frostline: !!int x",
        "this does not fit its tag !!int",
    ),
    "run config that makes an object": (
        "run config",
        lambda: b"model: !!python/name:os.system ''",
        "the tag '!!python/name:os.system' is not read",
    ),
    "plan of many values": (
        "plan",
        lambda: b"frostline: 1\nrules: [" + b"1," * 11_000 + b"]",
        "the plan has more than 10,000 values",
    ),
    "plan of many bytes": ("plan", lambda: b"#" * (5 << 20), "is too large to be one"),
    "plan with an escape of no character": ("plan", lambda: b'frostline: "\\U00110000"', "this is not YAML"),
    "plan in UTF-16": ("plan", lambda: "frostline: 1".encode("utf-16"), "is not text in UTF-8"),
    "receipt nested deeply": ("receipt", lambda: b"[" * DEEP, f"lists or mappings {TOO_DEEP}"),
    "receipt with a long number": ("receipt", lambda: b'{"frostline_receipt": ' + b"9" * 5000 + b"}", _LONG),
    "receipt with a key twice": (
        "receipt",
        lambda: b'{"frostline_receipt": 1, "model": "a", "model": "b"}',
        "the key 'model' stands twice in one mapping",
    ),
    "receipt of many values": (
        "receipt",
        lambda: b"[" + b"[]," * 2_000_000 + b"1]",
        "it holds more than 2,000,000 values",
    ),
    "delta whose head is nested deeply": (
        "delta",
        lambda: tensors_head(b"[" * DEEP),
        f"lists or mappings {TOO_DEEP}",
    ),
    "delta whose head is longer than it": (
        "delta",
        lambda: tensors_head(b"{}", 1 << 60),
        "its head should have",
    ),
    "delta whose head is not a mapping": ("delta", lambda: tensors_head(b"[]"), "its head is not a mapping"),
    "matrix whose head has a long number": (
        "matrix in safetensors",
        lambda: tensors_head(
            b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 24]}}'
        ),
        _LONG,
    ),
    "adapter config nested deeply": (
        "adapter config",
        lambda: b'{"a":' * DEEP,
        f"lists or mappings {TOO_DEEP}",
    ),
    "adapter config with a long alpha": (
        "adapter config",
        lambda: READERS["adapter config"].whole().replace(b"8", b"9" * 400, 1),
        "a number of 400 characters, 999999999999..., where numbers have at most 100",
    ),
    "adapter config that is a list": ("adapter config", lambda: b"[1]", "JSON that is not a mapping"),
    "adapter config with a key twice": (
        "adapter config",
        lambda: b'{"r": 4, "r": 8}',
        "the key 'r' stands twice in one mapping",
    ),
    "checkpoint nested deeply": ("checkpoint's state", lambda: b"[" * DEEP, "state.json"),
    "mask of Python objects": ("mask", lambda: npy(np.array([Opened()], object), pickled=True), _PICKLED),
    "mask that is a pickle": ("mask", lambda: b"\x80\x04cos\nsystem\n", "cannot be read"),
    "mask whose head says more": (
        "mask",
        lambda: npy_head("(1000000, 1000000)", "'|b1'"),
        "its head says 1,000,000,000,000 bytes of numbers (shape (1000000, 1000000), dtype bool), and 24 are "
        "there",
    ),
    "mask of less than nothing": ("mask", lambda: npy_head("(-1,)"), "its head says the shape (-1,)"),
    "mask whose head is long": (
        "mask",
        lambda: npy_head("(6,)", version=2, length=1 << 31),
        "its head is 2,147,483,648 bytes long",
    ),
    "mask whose head takes long to parse": (
        "mask",
        lambda: npy_head("(" + "'a':" * 6000 + ")"),
        "bytes long, where at most 4,096 are read",
    ),
    "mask whose head runs code": (
        "mask",
        lambda: npy_head("__import__('os').system('echo')"),
        "cannot be read",
    ),
    "matrix of Python objects": ("matrix", lambda: npy(np.array([Opened()], object), pickled=True), _PICKLED),
    "matrix whose head says more": (
        "matrix",
        lambda: npy_head("(99999, 99999)"),
        "its head says 39,999,200,004",
    ),
    "arrays of Python objects": (
        "arrays",
        lambda: npz(x=np.array([Opened()], object), y=np.ones(1)),
        _PICKLED,
    ),
    "arrays that unpack to far more": ("arrays", large_npz, _BOMB),
    "arrays of an encrypted archive": (
        "arrays",
        lambda: with_fields(npz(x=np.ones(3)), (6, 2, 1)),
        "the member 'x.npy' is encrypted",
    ),
    "model that unpacks to far more": ("model", lambda: unpacking_to(LARGE, "model.weights.h5"), _BOMB),
    "model packed in an unknown way": (
        "model",
        lambda: with_fields(keras_archive(), (8, 2, 97)),
        "is packed by the method 97, where 0 (stored), 8 (deflated) are read; pack it so",
    ),
    "model packed by bzip2, which unpacks without end": (
        "model",
        lambda: unpacking_to(LARGE, "config.json", method=zipfile.ZIP_BZIP2),
        "the member 'config.json' is packed by the method 12, where 0 (stored), 8 (deflated) are read",
    ),
    "arrays packed by lzma, which unpacks without end": (
        "arrays",
        lambda: unpacking_to(LARGE >> 3, method=zipfile.ZIP_LZMA),
        "the member 'x.npy' is packed by the method 14, where 0 (stored), 8 (deflated) are read",
    ),
    "arrays in a list behind a false mark": (
        "arrays",
        listing_behind_a_false_mark,
        "its list of members is 13,631,488 bytes long",
    ),
    "model that is encrypted": (
        "model",
        lambda: with_fields(keras_archive(), (6, 2, 1)),
        "is encrypted; unpack it with its password, and pack it again without",
    ),
    "model with a member twice": (
        "model",
        lambda: several(("config.json", b"{}"), ("config.json", b"{}"), ("model.weights.h5", b"")),
        "members called 'config.json', where each has a name of its own",
    ),
    "model with a member outside": (
        "model",
        lambda: several(("config.json", b"{}"), ("model.weights.h5", b""), ("../../x", b"")),
        "the member '../../x' names a place outside of the archive",
    ),
    "model with an absolute member": (
        "model",
        lambda: several(("config.json", b"{}"), ("model.weights.h5", b""), ("/etc/x", b"")),
        "the member '/etc/x' names a place outside of the archive",
    ),
    "model with a wrong checksum": (
        "model",
        lambda: zipped(config__json=b"{}", model__weights__h5=b"").replace(
            zlib.crc32(b"{}").to_bytes(4, "little"), b"\1\2\3\4"
        ),
        "is truncated or damaged: the member 'config.json': Bad CRC-32",
    ),
    "model that was cut off": ("model", lambda: keras_archive()[:-40], "is truncated or damaged: "),
    "model whose config is nested deeply": (
        "model",
        lambda: keras_archive(config__json=b"[" * DEEP),
        f"lists or mappings {TOO_DEEP}",
    ),
    "model of many members": (
        "model",
        lambda: listing(200_000),
        "its list of members is ",
    ),
    "word vectors that promise more": (
        "word vectors",
        lambda: b"1 9999999999\nthe 1 2 3\n",
        "of two bytes each at least",
    ),
    "word vectors of long numbers": (
        "word vectors",
        lambda: b"9" * 5000 + b" 3\nthe 1 2 3\n",
        "does not hold what its first line says",
    ),
    "word vectors on one line": ("word vectors", lambda: b"x" * (17 << 20), "a line of more than 16,777,216"),
    "table on one line": ("table", lambda: b"x" * (17 << 20), "is not a table of comma-separated values"),
    "table with a long number": (
        "table",
        lambda: b"p,kind\n" + b"9" * 5000 + b",cat\n",
        "the column 'p' holds no finite number.\n  received: '999",
    ),
    "image of few bytes and many pixels": ("image", lambda: png(5000, 5000), "the image unpacks from "),
    "image that is PostScript": (
        "image",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "it is not an image of the kinds BMP, GIF,",
    ),
    "image that is cut off": ("image", lambda: READERS["image"].whole()[:-30], "cannot be read"),
}


def check_refused(name: str, folder: Path) -> None:
    """The library refuses a hostile file in words, soon, in little memory, and leaves nothing behind."""
    kind, content, text = CASES[name]
    path = placed(READERS[kind], folder, content())
    before = {one.name for one in folder.iterdir()}
    began, memory = time.monotonic(), _peak()
    with pytest.raises(FrostlineError) as caught:
        READERS[kind].read(path)
    assert time.monotonic() - began < SECONDS
    assert _peak() - memory < MEMORY
    assert text in str(caught.value)
    assert type(caught.value) is READERS[kind].error
    assert len(str(caught.value)) < 7000
    assert {one.name for one in folder.iterdir()} == before


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
