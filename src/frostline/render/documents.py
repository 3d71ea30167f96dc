"""Text that others wrote inside documents that Frostline writes: as an escaped value, never as structure."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from frostline.render.foreign import escape, exact, is_shown, one_line

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
"""What YAML takes for something else than text."""


def json_text(data: Any, *, letters: bool = False) -> str:
    """Return plain data as JSON that every reader takes and every terminal shows.

    A number that JSON does not have (NaN, infinite) is null.

    Args:
        data: Mappings, lists, and scalars.
        letters: Whether letters of all alphabets stand as they are, for a file that people read.
    """
    text = json.dumps(_finite(data), indent=2, ensure_ascii=not letters, allow_nan=False)
    return "".join(one if one == "\n" or is_shown(one) else _json_escape(one) for one in text)


def yaml_document(data: Any) -> str:
    """Return plain data as a YAML file, in the order that it has; what nobody would see is an escape."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    # Such characters stand between double quotes alone, where an escape is read.
    return "".join(one if one == "\n" or is_shown(one) else escape(one) for one in text)


class _Dumper(yaml.SafeDumper):
    """Writes what is not seen between double quotes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if all(map(is_shown, text)) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def yaml_text(text: str) -> str:
    r"""Return a text as one value of a YAML file, in quotes where need be.

    Example:
        >>> yaml_text("data.csv"), yaml_text("on"), yaml_text("a\n# c")
        ('data.csv', '"on"', '"a\\n# c"')
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return yaml_quoted(text)


def yaml_quoted(text: str) -> str:
    """Return a text in double quotes, as YAML reads it; JSON's escapes beyond U+FFFF are two there."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(one if is_shown(one) else escape(one) for one in inner)}"'


def yaml_list(texts: Any) -> str:
    """Return texts as a list in one line of a YAML file."""
    return f"[{', '.join(map(yaml_text, texts))}]"


def csv_table(rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Return rows as CSV, columns in the order in which they first come.

    Nothing in them acts: a spreadsheet takes a cell that begins with one of `=+-@` for a formula, so that one
    begins with an apostrophe. Names that `exact` has made stay as they are.

    Example:
        >>> csv_table([{"epoch": 1, "=1+1": 0.5}])
        "epoch,'=1+1\n1,0.5\n"
    """
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(name, "")) for name in columns] for row in rows)
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = one_line(value)
    # Those that begin with apostrophes, too, so that no two names become one.
    return f"'{text}" if text.lstrip("' ").startswith(_FORMULA) else text


_FORMULA = ("=", "+", "-", "@")


def comment(text: str) -> str:
    r"""Return a text for a comment: one line, in which nothing acts.

    Example:
        >>> comment("cat\nimport: [helper]")
        'cat\\nimport: [helper]'
    """
    return exact(text)


def shell_line(words: Any) -> str:
    """Return a command for a shell of the Bourne family, in one line that can be copied."""
    return " ".join(_shell_word(word) for word in words)


def _shell_word(word: str) -> str:
    if all(map(is_shown, word)):
        return shlex.quote(word)
    raw = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(one if is_shown(one) else _bytes_of(one) for one in raw) + "'"


def _bytes_of(character: str) -> str:
    """Return the bytes of a file name as a shell reads them; what is not a letter came from one as is."""
    escaped = "\udc80" <= character <= "\udcff"
    raw = character.encode("utf-8", "surrogateescape" if escaped else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) != 0x7F else "\\u007f"


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data
