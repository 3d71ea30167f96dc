"""What a plan file may contain: its keys, their types and ranges, and the JSON Schema."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from frostline.parametrization.adapters import LowRank, Scale
from frostline.parametrization.arguments import part_of
from frostline.parametrization.base import Parametrization

Action = Literal["train", "freeze"]
BatchNormPolicy = Literal["inference", "update"]
StochasticPolicy = Literal["inference", "active"]
Mode = Literal["min", "max"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Text = Annotated[str, Field(min_length=1)]
SelectorData = Text | dict[str, Any]
_ABSENT = cast(Any, None)


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


class MaskData(_Strict):
    """A boolean array of the weight's shape: in a .npy file, or written out by Plan.to_data."""

    file: Text = Field(_ABSENT, description="A .npy file of booleans; relative to the folder of the plan.")
    digest: Annotated[str, Field(pattern="^blake3:[0-9a-f]{64}$")] = Field(
        _ABSENT, description="Digest of the file's bytes, as b3sum prints it, behind 'blake3:'."
    )
    shape: list[Annotated[int, Field(ge=1)]] = Field(_ABSENT, description="Its shape, where it stands here.")
    bits: Text = Field(_ABSENT, description="Its bits: packed, compressed by zlib, in base 64.")

    @model_validator(mode="after")
    def _one_form(self) -> MaskData:
        given = [name for name in ("file", "digest", "shape", "bits") if getattr(self, name) is not None]
        if given not in (["file", "digest"], ["shape", "bits"]):
            raise ValueError("a mask needs the keys 'file' and 'digest'")
        return self


class LowRankData(_Strict):
    """A trained update of low rank (LoRA)."""

    rank: Annotated[int, Field(ge=1)] = Field(8, description="The rank of the update.")
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        _ABSENT, description="The update is scaled by alpha / rank; by default it is the rank."
    )
    seed: int = Field(_ABSENT, description="For the start of the update.")


class ScaleData(_Strict):
    """A trained scale along one axis (IA3)."""

    axis: int = Field(-1, description="The axis of the weight.")


class ViaData(_Strict):
    """What a weight trains through: exactly one."""

    LowRank: LowRankData = Field(_ABSENT, description="An update of low rank (LoRA).")
    Scale: ScaleData = Field(_ABSENT, description="A scale along one axis (IA3).")

    @model_validator(mode="after")
    def _one(self) -> ViaData:
        if (self.LowRank is None) == (self.Scale is None):
            raise ValueError("a rule trains via exactly one of 'LowRank' and 'Scale'")
        return self

    def parametrization(self) -> Parametrization:
        """Return the parametrization that this describes."""
        if self.LowRank is not None:
            return LowRank(self.LowRank.rank, self.LowRank.alpha, self.LowRank.seed)
        return Scale(self.Scale.axis)


PARTS = ("rows", "columns", "index", "mask", "via")
"""The keys that say what part of a weight a rule speaks of."""


class RuleData(_Strict):
    """One rule: exactly one of train and freeze, each with a selector."""

    # None stands for a key that is not there: `train:` with nothing behind it is refused.
    train: SelectorData = Field(_ABSENT, description="Selector of the weights that train.")
    freeze: SelectorData = Field(_ABSENT, description="Selector of the weights that stay fixed.")
    lr: float = Field(1.0, gt=0, allow_inf_nan=False, description="Multiplies the learning rate.")
    decay: float = Field(1.0, ge=0, allow_inf_nan=False, description="Multiplies the weight decay.")
    optional: bool = Field(False, description="Whether the rule may pick nothing.")
    rows: PlacesData = Field(_ABSENT, description="Only these entries along the first axis.")
    columns: PlacesData = Field(_ABSENT, description="Only these entries along the last axis.")
    index: Annotated[list[PlacesData], Field(min_length=1)] = Field(
        _ABSENT, description="Only the block where these places cross, one entry for each axis."
    )
    mask: MaskData = Field(_ABSENT, description="Only the elements where it is true.")
    via: ViaData = Field(_ABSENT, description="Train through this; the weight itself stays fixed.")

    @model_validator(mode="after")
    def _one_action(self) -> RuleData:
        if (self.train is None) == (self.freeze is None):
            raise ValueError("a rule needs exactly one of 'train' and 'freeze'")
        given = [name for name in PARTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a rule takes at most one of {', '.join(map(repr, PARTS))}")
        if self.freeze is not None and self.via is not None:
            raise ValueError("a rule that freezes has no 'via'")
        return self

    @property
    def part_key(self) -> str:
        """The key that says what part of a weight it speaks of; `""` for none."""
        return next((name for name in PARTS if getattr(self, name) is not None), "")

    def part(self, mask: Any = None) -> Parametrization | None:
        """Return what part of a weight this speaks of; a mask is given by the caller, who read it."""
        via = self.via.parametrization() if self.via is not None else None
        return part_of(rows=self.rows, columns=self.columns, index=self.index, mask=mask, via=via)


class PlateauData(_Strict):
    """The end of a phase when a monitored value stops improving."""

    monitor: Text = Field(description="Name of the value in the epoch's logs, such as val_loss.")
    patience: int = Field(1, ge=1, description="How many epochs without improvement end the phase.")
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False, description="What counts as improvement.")
    mode: Mode = Field("min", description="Whether min or max is better.")


class PhaseData(_Strict):
    """A part of a training run: rules that come after the plan's, and an end."""

    name: Text = Field(description="Names the phase in histories and messages.")
    epochs: Annotated[int, Field(ge=1)] = Field(_ABSENT, description="How many epochs it lasts, at most.")
    steps: Annotated[int, Field(ge=1)] = Field(_ABSENT, description="How many training steps it lasts.")
    until: PlateauData = Field(_ABSENT, description="Ends it earlier.")
    lr: float = Field(1.0, gt=0, allow_inf_nan=False, description="Multiplies all learning rates in it.")
    rules: list[RuleData] = Field(default_factory=list, description="Rules behind the plan's.")
    restore_best: bool = Field(False, description="Whether to end with the weights of its best epoch.")


class PlanData(_Strict):
    """A Frostline plan: what trains and what stays fixed."""

    frostline: Literal[1] = Field(description="Version of this format.")
    default: Action = Field("freeze", description="What happens to weights that no rule picks.")
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
    text = json.dumps(PlanData.model_json_schema())
    schema: dict[str, Any] = json.loads(
        re.sub(r"(Rule|Phase|Plateau|Mask|LowRank|Scale|Via)Data", r"\1", text)
    )
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
    definitions["Rule"]["allOf"] = [
        {"not": {"required": list(pair)}} for pair in (*combinations(PARTS, 2), ("freeze", "via"))
    ]
    definitions["Mask"]["oneOf"] = [{"required": ["file", "digest"]}, {"required": ["shape", "bits"]}]
    definitions["Via"]["oneOf"] = [{"required": ["LowRank"]}, {"required": ["Scale"]}]
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


def model_at(at: tuple[int | str, ...]) -> type[_Strict]:
    """Return what describes the mapping at a place."""
    kinds: dict[int | str, type[_Strict]] = {
        "rules": RuleData,
        "phases": PhaseData,
        "until": PlateauData,
        "mask": MaskData,
        "via": ViaData,
        "LowRank": LowRankData,
        "Scale": ScaleData,
    }
    named = [part for part in at if part in kinds]
    return kinds[named[-1]] if named else PlanData
