"""Reading YAML and JSON files that people write, with the line of every value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from frostline.errors import FrostlineError
from frostline.files.document import Document, Format, Location
from frostline.files.json_text import parsed_json
from frostline.files.limits import MOST_DEPTH, MOST_DIGITS, UnreadableError, shortened
from frostline.files.reading import read_text

_MOST_BYTES = 4 << 20
"""YAML is read by a hundred lines of Python for each of its own."""

_MOST_VALUES = 10_000
"""Some seconds of reading. A file of a few lines can hold billions of values, by aliases of aliases."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    yaml.MappingNode: ("map",),
    yaml.SequenceNode: ("seq",),
    yaml.ScalarNode: ("str", "int", "float", "bool", "null"),
}
"""The types that may be written out, as in `!!str 5`; whatever else is asked for is refused."""

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""Numbers such as 1e-4, which YAML 1.1 takes for text and everybody else for a number."""


def read_document(path: Path, format_: Format) -> Document:
    """Read a YAML or JSON file; what ends in `.json` must be JSON.

    Raises:
        FrostlineError: It cannot be read (the class of the format); says the file, the line and why.
    """
    text = read_text(path, format_.in_file, f"{format_.noun} file", most=_MOST_BYTES)
    lines: dict[Location, int] = {}
    reader = _Reader(path, text, format_, lines)
    data = reader.from_json() if path.suffix == ".json" else reader.from_yaml()
    return Document(str(path), data, format_, lines)


class _Composer(yaml.SafeLoader):
    """Makes nodes of a text, no deeper and no more of them than are read.

    Args:
        text: The text.
        refuse: Makes the error for what is refused, from the line, what it is, and how to mend it.
    """

    def __init__(self, text: str, refuse: Callable[..., FrostlineError]) -> None:
        super().__init__(text)
        self._refuse = refuse
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Make one node, and those in it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        if self._depth > MOST_DEPTH:
            raise self._refuse(line, **_TOO_DEEP)
        if self._nodes > _MOST_VALUES:
            raise self._refuse(line, **_TOO_MANY)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and not isinstance(event, yaml.AliasEvent):
            self._require_plain(node, getattr(event, "tag", None), line)
        return node  # type: ignore[no-any-return]

    def _require_plain(self, node: yaml.Node, written: str | None, line: int) -> None:
        """Refuse a tag that is written out and asks for anything but plain data, or for what is not there."""
        if written in (None, "!"):
            return
        kind = node.tag.removeprefix(_TAG)
        if kind not in _PLAIN[type(node)]:
            shown = f"!!{kind}" if node.tag.startswith(_TAG) else node.tag
            raise self._refuse(
                line,
                what=f"the tag {shortened(shown)} is not read",
                expected="text, numbers, lists and mappings; nothing in a file is made an object, or run",
                remedy="take the tag out",
            )
        if isinstance(node, yaml.ScalarNode) and kind != "str" and isinstance(_scalar(node), str):
            raise self._refuse(
                line, what=f"this does not fit its tag !!{kind}", received=shortened(node.value)
            )


_TOO_DEEP = {
    "what": f"lists or mappings are nested too deeply, or contain themselves: more than {MOST_DEPTH} levels"
}
_TOO_MANY = {
    "what": f"the {{noun}} has more than {_MOST_VALUES:,} values",
    "remedy": "look for aliases (*name) of lists that hold aliases, which multiply",
}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns the text of one file into plain data."""

    path: Path
    text: str
    format: Format
    lines: dict[Location, int]

    def from_yaml(self) -> Any:
        try:
            node = self._composed(self.text)
        except yaml.YAMLError as error:
            raise self._syntax_error(error) from None
        if node is None:
            raise self._empty()
        return self._to_data(node, ())

    def _composed(self, text: str) -> yaml.Node | None:
        loader = _Composer(text, self._refusal)
        try:
            return loader.get_single_node()
        except (ValueError, IndexError, OverflowError) as error:
            if isinstance(error, FrostlineError):
                raise
            # PyYAML's own, for an escape of no character (\\U00110000), or a directive of a huge number.
            line = loader.line + 1
            raise self._refusal(
                line, f"this is not YAML: {str(error)[:200]}", remedy=self.format.quote
            ) from None
        finally:
            loader.dispose()

    def _refusal(self, line: int, what: str, **more: str) -> FrostlineError:
        what = what.replace("{noun}", self.format.noun, 1)
        return self.format.in_file(f"{self.path}, line {line}: {what}", **more)

    def from_json(self) -> Any:
        if not self.text.strip():
            raise self._empty()
        try:
            data = parsed_json(self.text, keys_once=False)
        except json.JSONDecodeError as error:
            raise self.format.in_file(
                f"{self.path}, line {error.lineno}: this is not JSON: {error.msg}, column {error.colno}"
            ) from None
        except UnreadableError as error:
            raise self.format.in_file(f"{self.path}: {error}") from None
        try:
            # JSON is read as YAML too, for the line of each value and for duplicate keys; YAML knows no tabs.
            node = self._composed(self.text.replace("\t", " "))
            if node is not None:
                self._to_data(node, ())
        except yaml.YAMLError as error:
            raise self._syntax_error(error) from None
        return data

    def _empty(self) -> FrostlineError:
        return self.format.in_file(f"{self.path} is empty", remedy=self.format.write_one)

    def _syntax_error(self, error: yaml.YAMLError) -> FrostlineError:
        make, path = self.format.in_file, self.path
        if isinstance(error, yaml.reader.ReaderError):
            line = self.text.count("\n", 0, error.position) + 1
            return make(
                f"{path}, line {line}: a control character cannot stand here",
                received=f"{error.character:#04x}",
            )
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        if "another document" in problem:
            return make(f"{place}: a second document begins", expected=f"one {self.format.noun} in a file")
        remedy = "indent with spaces" if "\\t" in problem else self.format.quote
        return make(f"{place}: this is not YAML: {problem}", remedy=remedy)

    def _to_data(self, node: yaml.Node, at: Location) -> Any:
        """Turn a YAML node into plain data, keep the line of everything, refuse duplicate keys."""
        lines = self.lines
        line = lines[at] = node.start_mark.line + 1
        if len(at) >= MOST_DEPTH:
            raise self._refusal(line, **_TOO_DEEP)
        if len(lines) > _MOST_VALUES:
            raise self._refusal(line, **_TOO_MANY)
        if isinstance(node, yaml.SequenceNode):
            return [self._to_data(item, (*at, n)) for n, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            # A selector of these signs is text, and is written without quotes.
            if self.format.number_at(at) and node.style is None and _EXPONENT.fullmatch(node.value):
                return float(node.value)
            if len(node.value) > MOST_DIGITS and _is_number(node):
                raise self._refusal(
                    line,
                    "a number is too long",
                    received=f"{node.value[:12]}..., of {len(node.value):,} characters",
                    expected=f"at most {MOST_DIGITS}",
                    remedy="put it in quotes where it is text",
                )
            # YAML 1.1 reads 1:30 as ninety, and here it is a slice.
            return node.value if ":" in node.value and _is_number(node) else _scalar(node)
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            # As it is written: YAML would make a truth of the key `on`.
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            line = key_node.start_mark.line + 1
            if key in data:
                raise self.format.in_file(
                    f"{self.path}, line {line}: the key {key!r} stands twice",
                    received=f"first on line {lines[(*at, key)]}, again on line {line}",
                    remedy=self.format.several,
                )
            data[key] = self._to_data(value_node, (*at, key))
            lines[(*at, key)] = line
        return data


def _is_number(node: yaml.ScalarNode) -> bool:
    return node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def _scalar(node: yaml.ScalarNode) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, yaml.YAMLError):
        return node.value
    finally:
        loader.dispose()
