"""What a plan file may contain: its keys, their types and ranges, and the JSON Schema."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from frostline.files.document import ABSENT, StrictData, Text
from frostline.files.json_text import parsed_json
from frostline.parametrization.arguments import part_of
from frostline.parametrization.base import Parametrization
from frostline.parametrization.registry import ADAPTERS

Action = Literal["train", "freeze", "assigned"]
"""What a rule does with weights; `assigned` is what the model's own code writes, and no optimizer."""
ACTIONS: tuple[Action, ...] = ("train", "freeze", "assigned")
Default = Literal["train", "freeze"]
BatchNormPolicy = Literal["inference", "update"]
StochasticPolicy = Literal["inference", "active"]
Mode = Literal["min", "max"]


SelectorData = Text | dict[str, Any]


def _require_places(value: Any) -> Any:
    whole = [value] if isinstance(value, int) else value
    if isinstance(value, str) or (
        isinstance(whole, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in whole)
    ):
        return value
    raise PydanticCustomError("places", "Input should be places such as '10:20', '30522:', 3 or [3, 7]")


_PLACES = {
    "anyOf": [
        {"type": "integer"},
        {"type": "string", "pattern": r"^\s*(-?\d+|(-?\d+)?\s*:\s*(-?\d+)?\s*(:\s*(-?\d+)?\s*)?)\s*$"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
    ]
}
PlacesData = Annotated[Any, BeforeValidator(_require_places), WithJsonSchema(_PLACES)]


class MaskData(StrictData):
    """A boolean array of the weight's shape: in a .npy file, or written out by Plan.to_data."""

    file: Text = Field(ABSENT, description="A .npy file of booleans; relative to the folder of the plan.")
    digest: Annotated[str, Field(pattern="^blake3:[0-9a-f]{64}$")] = Field(
        ABSENT, description="Digest of the file's bytes, as b3sum prints it, behind 'blake3:'."
    )
    shape: list[Annotated[int, Field(ge=1)]] = Field(ABSENT, description="Its shape, where it stands here.")
    bits: Text = Field(ABSENT, description="Its bits: packed, compressed by zlib, in base 64.")

    @model_validator(mode="after")
    def _one_form(self) -> MaskData:
        given = [name for name in ("file", "digest", "shape", "bits") if getattr(self, name) is not None]
        if given not in (["file", "digest"], ["shape", "bits"]):
            raise ValueError("a mask needs the keys 'file' and 'digest'")
        return self


class _Via(StrictData):
    """What a weight trains through: exactly one."""

    @model_validator(mode="after")
    def _one(self) -> _Via:
        if sum(settings is not None for _, settings in self) != 1:
            raise ValueError(f"a rule trains via exactly one of {' and '.join(map(repr, ADAPTERS))}")
        return self

    def parametrization(self) -> Parametrization:
        """Return the parametrization that this describes."""
        ((name, settings),) = ((name, settings) for name, settings in self if settings is not None)
        return ADAPTERS[name].from_config(settings.model_dump())


# One key for each adapter that there is.
_KEYS: dict[str, Any] = {
    name: (kind.in_plans, Field(ABSENT, description=kind.summary)) for name, kind in ADAPTERS.items()
}
ViaData = create_model("ViaData", __base__=_Via, __doc__=_Via.__doc__, **_KEYS)

PARTS = ("rows", "columns", "index", "mask", "via")
"""The keys that say what part of a weight a rule speaks of."""


class RuleData(StrictData):
    """One rule: exactly one of train, freeze and assigned, each with a selector."""

    # None stands for a key that is not there: `train:` with nothing behind it is refused.
    train: SelectorData = Field(ABSENT, description="Selector of the weights that train.")
    freeze: SelectorData = Field(ABSENT, description="Selector of the weights that stay fixed.")
    assigned: SelectorData = Field(
        ABSENT, description="Selector of the weights that the model's own code assigns, such as a teacher's."
    )
    lr: float = Field(1.0, gt=0, allow_inf_nan=False, description="Multiplies the learning rate.")
    decay: float = Field(1.0, ge=0, allow_inf_nan=False, description="Multiplies the weight decay.")
    optional: bool = Field(False, description="Whether the rule may pick nothing.")
    rows: PlacesData = Field(ABSENT, description="Only these entries along the first axis.")
    columns: PlacesData = Field(ABSENT, description="Only these entries along the last axis.")
    index: Annotated[list[PlacesData], Field(min_length=1)] = Field(
        ABSENT, description="Only the block where these places cross, one entry for each axis."
    )
    mask: MaskData = Field(ABSENT, description="Only the elements where it is true.")
    via: ViaData = Field(ABSENT, description="Train through this; the weight itself stays fixed.")

    @model_validator(mode="after")
    def _one_action(self) -> RuleData:
        if sum(getattr(self, action) is not None for action in ACTIONS) != 1:
            raise ValueError("a rule needs exactly one of 'train', 'freeze' and 'assigned'")
        given = [name for name in PARTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a rule takes at most one of {', '.join(map(repr, PARTS))}")
        if self.freeze is not None and self.via is not None:
            raise ValueError("a rule that freezes has no 'via'")
        if self.assigned is not None and given:
            raise ValueError(f"a rule for what code assigns has no {given[0]!r}: it speaks of whole weights")
        return self

    @property
    def action(self) -> Action:
        """Which of the three it is."""
        return next(action for action in ACTIONS if getattr(self, action) is not None)

    @property
    def part_key(self) -> str:
        """The key that says what part of a weight it speaks of; `""` for none."""
        return next((name for name in PARTS if getattr(self, name) is not None), "")

    def part(self, mask: Any = None) -> Parametrization | None:
        """Return what part of a weight this speaks of; a mask is given by the caller, who read it."""
        via = self.via.parametrization() if self.via is not None else None
        return part_of(rows=self.rows, columns=self.columns, index=self.index, mask=mask, via=via)


class PlateauData(StrictData):
    """The end of a phase when a monitored value stops improving."""

    monitor: Text = Field(description="Name of the value in the epoch's logs, such as val_loss.")
    patience: int = Field(1, ge=1, description="How many epochs without improvement end the phase.")
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False, description="What counts as improvement.")
    mode: Mode = Field("min", description="Whether min or max is better.")


class PhaseData(StrictData):
    """A part of a training run: rules that come after the plan's, and an end."""

    name: Text = Field(description="Names the phase in histories and messages.")
    epochs: Annotated[int, Field(ge=1)] = Field(ABSENT, description="How many epochs it lasts, at most.")
    steps: Annotated[int, Field(ge=1)] = Field(ABSENT, description="How many training steps it lasts.")
    until: PlateauData = Field(ABSENT, description="Ends it earlier.")
    lr: float = Field(1.0, gt=0, allow_inf_nan=False, description="Multiplies all learning rates in it.")
    rules: list[RuleData] = Field(default_factory=list, description="Rules behind the plan's.")
    restore_best: bool = Field(False, description="Whether to end with the weights of its best epoch.")


class PlanData(StrictData):
    """A Frostline plan: what trains and what stays fixed."""

    frostline: Literal[1] = Field(description="Version of this format.")
    default: Default = Field("freeze", description="What happens to weights that no rule picks.")
    batchnorm: BatchNormPolicy = Field(
        "inference", description="How frozen layers with moving statistics run."
    )
    stochastic: StochasticPolicy = Field(
        "inference", description="How dropout and noise run inside frozen blocks."
    )
    rules: list[RuleData] = Field(
        default_factory=list, description="In order; the last that picks a weight decides."
    )
    phases: Annotated[list[PhaseData], Field(min_length=1)] = Field(
        ABSENT, description="Makes it a schedule: phases in order, each on top of the rules."
    )

    @field_validator("frostline", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        if value is True:  # which Python takes for 1
            raise PydanticCustomError("literal_error", "Input should be 1")
        return value


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema of plan files, also published as `docs/schemas/plan.json`."""
    text = json.dumps(PlanData.model_json_schema())
    schema: dict[str, Any] = parsed_json(
        re.sub(rf"(Rule|Phase|Plateau|Mask|Via|{'|'.join(ADAPTERS)})Data", r"\1", text)
    )
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Frostline plan"
    definitions = schema["$defs"]
    definitions["Selector"] = _selector_schema()
    for action in ACTIONS:
        described = definitions["Rule"]["properties"][action]["description"]
        definitions["Rule"]["properties"][action] = {
            "$ref": "#/$defs/Selector",
            "description": described,
        }
    definitions["Rule"]["oneOf"] = [{"required": [action]} for action in ACTIONS]
    apart = (*combinations(PARTS, 2), ("freeze", "via"), *(("assigned", name) for name in PARTS))
    definitions["Rule"]["allOf"] = [{"not": {"required": list(pair)}} for pair in apart]
    definitions["Mask"]["oneOf"] = [{"required": ["file", "digest"]}, {"required": ["shape", "bits"]}]
    definitions["Via"]["oneOf"] = [{"required": [name]} for name in ADAPTERS]
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


def model_at(at: tuple[int | str, ...]) -> type[StrictData]:
    """Return what describes the mapping at a place."""
    kinds: dict[int | str, type[StrictData]] = {
        "rules": RuleData,
        "phases": PhaseData,
        "until": PlateauData,
        "mask": MaskData,
        "via": ViaData,
        **{name: kind.in_plans for name, kind in ADAPTERS.items()},
    }
    named = [part for part in at if part in kinds]
    return kinds[named[-1]] if named else PlanData
