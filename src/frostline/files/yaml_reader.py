"""Reading YAML and JSON files that people write, with the line of every value."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from frostline.errors import FrostlineError
from frostline.files.atomic import read_text
from frostline.files.document import Document, Format, Location

_MOST_VALUES = 100_000
"""A file of a few lines can hold billions of values, by aliases of aliases."""

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""Numbers such as 1e-4, which YAML 1.1 takes for text and everybody else for a number."""


def read_document(path: Path, format_: Format) -> Document:
    """Read a YAML or JSON file; what ends in `.json` must be JSON.

    Raises:
        FrostlineError: It cannot be read (the class of the format); says the file, the line and why.
    """
    text = read_text(path, format_.in_file, f"{format_.noun} file")
    lines: dict[Location, int] = {}
    reader = _Reader(path, text, format_, lines)
    try:
        data = reader.from_json() if path.suffix == ".json" else reader.from_yaml()
    except RecursionError:
        raise format_.in_file(
            f"{path}: lists or mappings are nested too deeply, or contain themselves"
        ) from None
    return Document(str(path), data, format_, lines)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns the text of one file into plain data."""

    path: Path
    text: str
    format: Format
    lines: dict[Location, int]

    def from_yaml(self) -> Any:
        try:
            node = yaml.compose(self.text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise self._syntax_error(error) from None
        if node is None:
            raise self._empty()
        return self._to_data(node, ())

    def from_json(self) -> Any:
        if not self.text.strip():
            raise self._empty()
        try:
            data = json.loads(self.text)
        except json.JSONDecodeError as error:
            raise self.format.in_file(
                f"{self.path}, line {error.lineno}: this is not JSON: {error.msg}, column {error.colno}"
            ) from None
        try:
            # JSON is read as YAML too, for the line of each value and for duplicate keys; YAML knows no tabs.
            node = yaml.compose(self.text.replace("\t", " "), yaml.SafeLoader)
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
        lines[at] = node.start_mark.line + 1
        if len(lines) > _MOST_VALUES:
            raise self.format.in_file(
                f"{self.path}, line {lines[at]}: "
                f"the {self.format.noun} has more than {_MOST_VALUES:,} values",
                remedy="look for aliases (*name) of lists that hold aliases, which multiply",
            )
        if isinstance(node, yaml.SequenceNode):
            return [self._to_data(item, (*at, n)) for n, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            # A selector of these signs is text, and is written without quotes.
            if self.format.number_at(at) and node.style is None and _EXPONENT.fullmatch(node.value):
                return float(node.value)
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
