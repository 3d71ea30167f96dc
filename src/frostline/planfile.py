"""Plan files: YAML or JSON in and out, and errors with their line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from frostline.errors import FrostlineError, PlanError, PlanFileError, near
from frostline.files import read_text, write_atomically
from frostline.plan import Plan, Rule
from frostline.plandata import PlanData, RuleData, model_at
from frostline.schedule import Schedule

Made = TypeVar("Made")
Location = tuple[int | str, ...]

_MOST_VALUES = 100_000
"""A file of a few lines can hold billions of values, by aliases of aliases."""

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""Numbers such as 1e-4, which YAML 1.1 takes for text and everybody else for a number."""


def plan_from_data(data: Any) -> Plan:
    """Make a plan from plain data. See `Plan.from_data`."""
    found = plan_or_schedule_from_data(data)
    if isinstance(found, Schedule):
        raise PlanError("the plan data has phases, so it is a schedule", remedy="use it as a Schedule")
    return found


def plan_or_schedule_from_data(data: Any) -> Plan | Schedule:
    """Make a plan, or with phases a schedule, from plain data.

    Raises:
        PlanError: The data is neither; says where and what was expected.
    """
    return _Reader("plan data", {}).read(data)


def load_plan(path: str | Path) -> Plan:
    """Read a plan file. See `Plan.load`."""
    found = load_plan_or_schedule(path)
    if isinstance(found, Schedule):
        raise PlanFileError(
            f"{path} has phases, so it is a schedule", remedy=f"read it with Schedule.load({str(path)!r})"
        )
    return found


def load_schedule(path: str | Path) -> Schedule:
    """Read a plan file with phases. See `Schedule.load`."""
    found = load_plan_or_schedule(path)
    if isinstance(found, Plan):
        raise PlanFileError(
            f"{path} has no phases, so it is a plan",
            remedy=f"read it with Plan.load({str(path)!r}), or add phases: [{{name: all, epochs: 3}}]",
        )
    return found


def load_plan_or_schedule(path: str | Path) -> Plan | Schedule:
    """Read a plan file, with or without phases.

    Raises:
        PlanFileError: It cannot be read; says the file, the line and what was expected.
    """
    path = Path(path)
    text = read_text(path, PlanFileError, "plan file")
    lines: dict[Location, int] = {}
    try:
        data = _from_json(path, text, lines) if path.suffix == ".json" else _from_yaml(path, text, lines)
    except RecursionError:
        raise PlanFileError(f"{path}: lists or mappings are nested too deeply, or hold themselves") from None
    return _Reader(str(path), lines).read(data)


def _from_yaml(path: Path, text: str, lines: dict[Location, int]) -> Any:
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _syntax_error(path, text, error) from None
    if node is None:
        raise _empty(path)
    return _to_data(node, (), lines, path)


def _from_json(path: Path, text: str, lines: dict[Location, int]) -> Any:
    if not text.strip():
        raise _empty(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanFileError(
            f"{path}, line {error.lineno}: this is not JSON: {error.msg}, column {error.colno}"
        ) from None
    try:
        # JSON is read as YAML too, for the line of each value and for duplicate keys; YAML knows no tabs.
        node = yaml.compose(text.replace("\t", " "), yaml.SafeLoader)
        if node is not None:
            _to_data(node, (), lines, path)
    except yaml.YAMLError as error:
        raise _syntax_error(path, text, error) from None
    return data


def save_plan(plan: Plan | Schedule, path: str | Path) -> None:
    """Write a plan file. See `Plan.save`."""
    path = Path(path)
    data = plan.to_data()
    if path.suffix == ".json":
        text = json.dumps(data, indent=2) + "\n"
    else:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    write_atomically(path, text.encode(), PlanFileError)


def _empty(path: Path) -> PlanFileError:
    return PlanFileError(f"{path} is empty", remedy="write one with `frostline init MODEL`")


def _syntax_error(path: Path, text: str, error: yaml.YAMLError) -> PlanFileError:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return PlanFileError(
            f"{path}, line {line}: a control character cannot stand here", received=f"{error.character:#04x}"
        )
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    place = f"{path}, line {mark.line + 1}" if mark else str(path)
    if "another document" in problem:
        return PlanFileError(f"{place}: a second document begins", expected="one plan in a file")
    remedy = "indent with spaces" if "\\t" in problem else "quote selectors: train: 'head/**'"
    return PlanFileError(f"{place}: this is not YAML: {problem}", remedy=remedy)


def _to_data(node: yaml.Node, at: Location, lines: dict[Location, int], path: Path) -> Any:
    """Turn a YAML node into plain data, keep the line of everything, refuse duplicate keys."""
    lines[at] = node.start_mark.line + 1
    if len(lines) > _MOST_VALUES:
        raise PlanFileError(
            f"{path}, line {lines[at]}: the plan has more than {_MOST_VALUES:,} values",
            remedy="look for aliases (*name) of lists that hold aliases, which multiply",
        )
    if isinstance(node, yaml.SequenceNode):
        return [_to_data(item, (*at, n), lines, path) for n, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        # A selector of these signs is text, and is written without quotes.
        number = at[-1:] in (("lr",), ("decay",), ("min_delta",))
        if number and node.style is None and _EXPONENT.fullmatch(node.value):
            return float(node.value)
        return _scalar(node)
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        # As it is written: YAML would make a truth of the key `on`.
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        line = key_node.start_mark.line + 1
        if key in data:
            raise PlanFileError(
                f"{path}, line {line}: the key {key!r} stands twice",
                received=f"first on line {lines[(*at, key)]}, again on line {line}",
                remedy="keep one of them; several rules go into the list under 'rules:'",
            )
        data[key] = _to_data(value_node, (*at, key), lines, path)
        lines[(*at, key)] = line
    return data


def _scalar(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, yaml.YAMLError):
        return node.value
    finally:
        loader.dispose()


class _Reader:
    """Validates plan data; knows which line each value came from."""

    def __init__(self, source: str, lines: dict[Location, int]) -> None:
        self._source = source
        self._lines = lines

    def read(self, data: Any) -> Plan | Schedule:
        if not isinstance(data, dict):
            raise self._error((), "a plan is a mapping", received=_shown(data))
        try:
            valid = PlanData.model_validate(data)
        except ValidationError as error:
            raise self._from_validation(error, data) from None
        rules = self._rules(valid.rules, ("rules",))
        plan = Plan(rules, valid.default, valid.batchnorm, valid.stochastic)
        if valid.phases is None:
            return plan
        phases = []
        for number, phase in enumerate(valid.phases):
            own = self._rules(phase.rules, ("phases", number, "rules"))
            phases.append(self._made(partial(phase.phase, own), ("phases", number)))
        return self._made(lambda: Schedule(plan, tuple(phases)), ("phases",))

    def _rules(self, rules: list[RuleData], at: Location) -> tuple[Rule, ...]:
        action = {True: "freeze", False: "train"}
        return tuple(
            self._made(rule.rule, (*at, number, action[rule.train is None]))
            for number, rule in enumerate(rules)
        )

    def _made(self, make: Callable[[], Made], at: Location) -> Made:
        """Make a part of the plan; an error of Frostline's gets the place in the file."""
        try:
            return make()
        except FrostlineError as error:
            more = {"received": error.received, "expected": error.expected, "remedy": error.remedy}
            raise self._error(at, error.what, **more) from None

    def _from_validation(self, error: ValidationError, data: Any) -> PlanError:
        # A misspelled key is both unknown and missing: say the former.
        first = min(error.errors(), key=lambda e: (self._line(e["loc"]) or 0, e["type"] == "missing"))
        at = tuple(part for part in first["loc"] if part not in ("str", "dict[str,any]", "constrained-str"))
        name = _spelled(at)
        if first["type"] in ("extra_forbidden", "invalid_key"):
            known = list(model_at(at[:-1]).model_fields)
            close = near(str(at[-1]), known, most=1)
            return self._error(
                at,
                f"unknown key {at[-1]!r}",
                expected=f"one of {', '.join(known)}",
                remedy=f"did you mean {close[0]!r}?" if close else None,
            )
        if first["type"] == "missing":
            remedy = "begin the plan with 'frostline: 1'" if at == ("frostline",) else None
            whose = f" of {_spelled(at[:-1])}" if at[:-1] else ""
            return self._error(at[:-1], f"the key {at[-1]!r}{whose} is missing", remedy=remedy)
        if first["type"] == "value_error":
            where = _get(data, at)
            received = f"a rule with the keys {', '.join(where)}" if where else "a rule without keys"
            return self._error(at, str(first["ctx"]["error"]), received=received)
        return self._error(
            at,
            f"{name} has a wrong value",
            received=_shown(first["input"]),
            expected=_expected(first, at),
        )

    def _line(self, at: Location) -> int | None:
        while at and at not in self._lines:
            at = at[:-1]
        return self._lines.get(at)

    def _error(self, at: Location, what: str, **more: str | None) -> PlanError:
        line = self._line(at)
        if not self._lines:
            return PlanError(f"{self._source}: {what}", **more)
        return PlanFileError(f"{self._source}, line {line}: {what}", **more)


def _get(data: Any, at: Location) -> Any:
    for part in at:
        data = data[part]
    return data


def _spelled(at: Location) -> str:
    text = ""
    for part in at:
        text += f" {part + 1}" if isinstance(part, int) else f"{' ' if text else ''}{part}"
    return text.replace("rules ", "rule ").replace("phases ", "phase ").strip() or "the plan"


def _shown(value: Any) -> str:
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
    return f"{value!r} ({kind})" if isinstance(value, str | int | float | bool) else f"{kind} {value!r}"


_EXAMPLES = {
    "name": "a name such as probe",
    "monitor": "a name such as val_loss",
    "until": "a mapping such as {monitor: val_loss, patience: 3}",
    "phases": "a mapping such as {name: probe, epochs: 3}",
}


def _expected(error: Any, at: Location) -> str:
    kinds = {
        "string_type": "a selector: text such as 'head/**', or a mapping with any, all or not",
        "float_type": "a number",
        "list_type": "a list",
        "bool_type": "true or false",
        "model_type": "a mapping such as {train: 'head/**'}",
        "int_type": "a whole number",
        "too_short": "at least one",
        "string_too_short": "a selector such as 'head/**'",
    }
    # What stands in a list goes by the name of the list.
    key = next((part for part in reversed(at) if isinstance(part, str)), "")
    if error["type"] in ("string_type", "string_too_short", "model_type") and key in _EXAMPLES:
        return _EXAMPLES[key]
    if error["type"] in ("literal_error", "greater_than", "greater_than_equal", "finite_number"):
        return str(error["msg"]).removeprefix("Input should be ")
    return kinds.get(error["type"], str(error["msg"]).removeprefix("Input should be "))
