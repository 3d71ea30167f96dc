"""Plain data that people wrote into a file, and errors that name the line of what is wrong in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from frostline.errors import FrostlineError, near
from frostline.files.limits import shortened

Made = TypeVar("Made")
Location = tuple[int | str, ...]

Text = Annotated[str, Field(min_length=1)]

ABSENT = cast(Any, None)
"""The default of a key that may be left out: its type need not allow None, so the JSON Schema does not."""


class StrictData(BaseModel):
    """Knows no keys but its own, and converts nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Format:
    """What the messages about one kind of file say.

    Attributes:
        noun: What the file is: `plan`.
        in_file: Raised for a mistake in a file, with its line.
        in_data: Raised for a mistake in data that came from no file.
        model_at: Gives what describes the mapping at a place of the data.
        number_at: Says whether a value written like 1e-4 is a number there.
        examples: What a value of a key looks like.
        default_example: What a text looks like under any other key.
        first_line: What the file begins with.
        write_one: How to get a first file.
        quote: How to write text that YAML takes for something else.
        several: Where several values go, for a key that stands twice.
    """

    noun: str
    in_file: type[FrostlineError]
    in_data: type[FrostlineError]
    model_at: Callable[[Any, Location], type[BaseModel]]
    number_at: Callable[[Location], bool]
    examples: Mapping[str, str]
    default_example: str
    first_line: str
    write_one: str
    quote: str
    several: str

    def raising(self, error: type[FrostlineError]) -> Format:
        """Return the same format with another class of errors."""
        return replace(self, in_file=error, in_data=error)


@dataclass(frozen=True)
class Document:
    """Plain data, and where each value stands in the file that it came from.

    Attributes:
        source: Names it in messages.
        data: Mappings, lists and scalars.
        format: What the messages say.
        lines: The line of each value, from 1; empty where the data came from no file.
        base: Where in the file the data begins, for a part of a file.
    """

    source: str
    data: Any
    format: Format
    lines: Mapping[Location, int] = field(default_factory=dict)
    base: Location = ()

    def error(self, at: Location, what: str, **more: str | None) -> FrostlineError:
        """Return the error for a mistake at a place; `more` as for `FrostlineError`."""
        if not self.lines:
            return self.format.in_data(f"{self.source}: {what}", **more)
        return self.format.in_file(f"{self.source}, line {self.line(at)}: {what}", **more)

    def line(self, at: Location) -> int | None:
        """Return the line of a value, or of what it would stand in."""
        full = (*self.base, *at)
        while full and full not in self.lines:
            full = full[:-1]
        return self.lines.get(full)

    def made(self, make: Callable[[], Made], at: Location) -> Made:
        """Make something of a part; an error of Frostline's gets the place in the file."""
        try:
            return make()
        except FrostlineError as error:
            more = {"received": error.received, "expected": error.expected, "remedy": error.remedy}
            raise self.error(at, error.what, **more) from None

    def validated(self, model: type[BaseModel]) -> Any:
        """Return the data as a pydantic model; raises for the first mistake in it."""
        if not isinstance(self.data, dict):
            raise self.error((), f"a {self.format.noun} is a mapping", received=shown(self.data))
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise self._from_validation(error) from None

    def _from_validation(self, error: ValidationError) -> FrostlineError:
        # A misspelled key is both unknown and missing: say the former.
        every = error.errors()
        strange = {_place(self.data, e)[:-1] for e in every if e["type"] == "extra_forbidden"}

        def order(e: Any) -> tuple[bool, int, bool]:
            at, missing = _place(self.data, e), e["type"] == "missing"
            return missing and at[:-1] in strange, self.line(at) or 0, missing

        first = min(every, key=order)
        at = _place(self.data, first)
        if first["type"] in ("extra_forbidden", "invalid_key"):
            known = [
                f.alias or name for name, f in self.format.model_at(self.data, at[:-1]).model_fields.items()
            ]
            close = near(str(at[-1]), known, most=1)
            return self.error(
                at,
                f"unknown key {at[-1]!r}",
                expected=f"one of {', '.join(known)}",
                remedy=f"did you mean {close[0]!r}?" if close else None,
            )
        if first["type"] == "missing":
            begin = f"begin the {self.format.noun} with {self.format.first_line!r}"
            whose = f" of {self._spelled(at[:-1])}" if at[:-1] else ""
            return self.error(
                at[:-1],
                f"the key {at[-1]!r}{whose} is missing",
                remedy=begin if at == ("frostline",) else None,
            )
        if first["type"] == "value_error":
            where = _get(self.data, at)
            noun = self._spelled(at[-2:-1]) if isinstance(at[-1], int) else self._spelled(at)
            noun = "rule" if noun == "rules" else noun
            received = f"a {noun} with the keys {', '.join(where)}" if where else f"a {noun} without keys"
            return self.error(at, str(first["ctx"]["error"]), received=received)
        return self.error(
            at,
            f"{self._spelled(at)} has a wrong value",
            received=shown(first["input"]),
            expected=self._expected(first, at),
        )

    def _spelled(self, at: Location) -> str:
        text = ""
        for part in at:
            text += f" {part + 1}" if isinstance(part, int) else f"{' ' if text else ''}{part}"
        return (
            re.sub(r"\b(rule|phase|callback|metric)s (?=\d)", r"\1 ", text).strip()
            or f"the {self.format.noun}"
        )

    def _expected(self, error: Any, at: Location) -> str:
        kinds = {
            "string_type": self.format.default_example,
            "float_type": "a number",
            "list_type": "a list",
            "dict_type": "a mapping",
            "bool_type": "true or false",
            "model_type": "a mapping such as {train: 'head/**'}",
            "int_type": "a whole number",
            "too_short": "at least one",
            "string_too_short": "a selector such as 'head/**'",
        }
        examples = self.format.examples
        # What stands in a list goes by the name of the list.
        key = next((part for part in reversed(at) if isinstance(part, str)), "")
        if key in examples and error["type"] in (
            "string_type",
            "string_too_short",
            "model_type",
            "union_tag_not_found",
        ):
            return examples[key]
        if error["type"] in ("literal_error", "greater_than", "greater_than_equal", "finite_number"):
            return str(error["msg"]).removeprefix("Input should be ")
        return kinds.get(error["type"], str(error["msg"]).removeprefix("Input should be "))


def shown(value: Any) -> str:
    """Say a value and its kind, in the words of a file."""
    names = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true/false",
        "dict": "mapping",
    }
    if value is None:
        return "nothing"
    kind = names.get(type(value).__name__, type(value).__name__)
    text = shortened(value)
    return f"{text} ({kind})" if isinstance(value, str | int | float | bool) else f"{kind} {text}"


def _get(data: Any, at: Location) -> Any:
    for part in at:
        data = data[part]
    return data


def _place(data: Any, error: Any) -> Location:
    """Return where in the data an error is: pydantic also names the member of a union that it tried."""
    at: list[int | str] = []
    for part in error["loc"]:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            data = data[part]
            at.append(part)
    if error["type"] == "missing":
        at.append(error["loc"][-1])
    return tuple(at)
