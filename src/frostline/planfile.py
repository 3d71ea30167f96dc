"""Plan files: YAML or JSON in and out, errors with their line, and the JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from frostline.errors import FrostlineError, PlanError, PlanFileError, near
from frostline.files import read_text, write_atomically
from frostline.plan import Action, BatchNormPolicy, Plan, Rule, StochasticPolicy
from frostline.schedule import Mode, Phase, Plateau, Schedule
from frostline.select import selector

Made = TypeVar("Made")
Location = tuple[int | str, ...]

_MOST_VALUES = 100_000
"""A file of a few lines can hold billions of values, by aliases of aliases."""

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""Numbers such as 1e-4, which YAML 1.1 takes for text and everybody else for a number."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Text = Annotated[str, Field(min_length=1)]
SelectorData = Text | dict[str, Any]
_ABSENT = cast(Any, None)


class _RuleData(_Strict):
    """One rule: exactly one of train and freeze, each with a selector."""

    # None stands for a key that is not there: `train:` with nothing behind it is refused.
    train: SelectorData = Field(_ABSENT, description="Selector of the weights that train.")
    freeze: SelectorData = Field(_ABSENT, description="Selector of the weights that stay fixed.")
    lr: float = Field(1.0, gt=0, allow_inf_nan=False, description="Multiplies the learning rate.")
    decay: float = Field(1.0, ge=0, allow_inf_nan=False, description="Multiplies the weight decay.")
    optional: bool = Field(False, description="Whether the rule may pick nothing.")

    @model_validator(mode="after")
    def _one_action(self) -> _RuleData:
        if (self.train is None) == (self.freeze is None):
            raise ValueError("a rule needs exactly one of 'train' and 'freeze'")
        return self

    def rule(self) -> Rule:
        action: Action = "train" if self.train is not None else "freeze"
        chosen = self.train if self.train is not None else self.freeze
        return Rule(action, selector(chosen), self.lr, self.decay, self.optional)


class _PlateauData(_Strict):
    """The end of a phase when a monitored value stops improving."""

    monitor: Text = Field(description="Name of the value in the epoch's logs, such as val_loss.")
    patience: int = Field(1, ge=1, description="How many epochs without improvement end the phase.")
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False, description="What counts as improvement.")
    mode: Mode = Field("min", description="Whether min or max is better.")


class _PhaseData(_Strict):
    """A part of a training run: rules that come after the plan's, and an end."""

    name: Text = Field(description="Names the phase in histories and messages.")
    epochs: Annotated[int, Field(ge=1)] = Field(_ABSENT, description="How many epochs it lasts, at most.")
    steps: Annotated[int, Field(ge=1)] = Field(_ABSENT, description="How many training steps it lasts.")
    until: _PlateauData = Field(_ABSENT, description="Ends it earlier.")
    lr: float = Field(1.0, gt=0, allow_inf_nan=False, description="Multiplies all learning rates in it.")
    rules: list[_RuleData] = Field(default_factory=list, description="Rules behind the plan's.")
    restore_best: bool = Field(False, description="Whether to end with the weights of its best epoch.")

    def phase(self, rules: tuple[Rule, ...]) -> Phase:
        until = Plateau(**self.until.model_dump()) if self.until is not None else None
        return Phase(self.name, self.epochs, self.steps, until, self.lr, rules, self.restore_best)


class _PlanData(_Strict):
    """A Frostline plan: what trains and what stays fixed."""

    frostline: Literal[1] = Field(description="Version of this format.")
    default: Action = Field("freeze", description="What happens to weights that no rule picks.")
    batchnorm: BatchNormPolicy = Field(
        "inference", description="How frozen layers with moving statistics run."
    )
    stochastic: StochasticPolicy = Field(
        "inference", description="How dropout and noise run inside frozen blocks."
    )
    rules: list[_RuleData] = Field(
        default_factory=list, description="In order; the last that picks a weight decides."
    )
    phases: Annotated[list[_PhaseData], Field(min_length=1)] = Field(
        _ABSENT, description="Makes it a schedule: phases in order, each on top of the rules."
    )

    @field_validator("frostline", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        if value is True:  # which Python takes for 1
            raise PydanticCustomError("literal_error", "Input should be 1")
        return value


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema of plan files, also published as `docs/schemas/plan.json`."""
    text = json.dumps(_PlanData.model_json_schema())
    schema: dict[str, Any] = json.loads(re.sub(r"_(Rule|Phase|Plateau)Data", r"\1", text))
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Frostline plan"
    definitions = schema["$defs"]
    definitions["Selector"] = _selector_schema()
    for action in ("train", "freeze"):
        described = definitions["Rule"]["properties"][action]["description"]
        definitions["Rule"]["properties"][action] = {
            "$ref": "#/$defs/Selector",
            "description": described,
        }
    definitions["Rule"]["oneOf"] = [{"required": ["train"]}, {"required": ["freeze"]}]
    definitions["Phase"]["oneOf"] = [{"required": ["epochs"]}, {"required": ["steps"]}]
    return schema


def _selector_schema() -> dict[str, Any]:
    one = {"$ref": "#/$defs/Selector"}
    several = {"type": "array", "items": one, "minItems": 1}
    combined = {"any": several, "all": several, "not": one}
    return {
        "anyOf": [
            {"type": "string", "minLength": 1},
            *(
                {
                    "type": "object",
                    "properties": {key: value},
                    "required": [key],
                    "additionalProperties": False,
                }
                for key, value in combined.items()
            ),
        ],
        "title": "Selector",
        "description": "Text (a glob, or re:, type:, first:, last:, layer:), or any, all or not.",
    }


def plan_from_data(data: Any) -> Plan:
    """Make a plan from plain data. See `Plan.from_data`."""
    found = _Reader("plan data", {}).read(data)
    if isinstance(found, Schedule):
        raise PlanError("the plan data has phases, so it is a schedule", remedy="use it as a Schedule")
    return found


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
            valid = _PlanData.model_validate(data)
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

    def _rules(self, rules: list[_RuleData], at: Location) -> tuple[Rule, ...]:
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
            known = list(_model_at(at[:-1]).model_fields)
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


def _model_at(at: Location) -> type[_Strict]:
    """Return what describes the mapping at a place."""
    kinds: dict[int | str, type[_Strict]] = {"rules": _RuleData, "phases": _PhaseData, "until": _PlateauData}
    named = [part for part in at if part in kinds]
    return kinds[named[-1]] if named else _PlanData


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
