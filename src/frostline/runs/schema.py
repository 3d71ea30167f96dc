"""What a run config may contain: its keys, their types and ranges, and the JSON Schema."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from frostline.data.sources import (
    SOURCE_OF_KIND,
    FunctionName,
    SourceField,
    ValidationField,
    kind_of,
)
from frostline.files.document import ABSENT, StrictData, Text
from frostline.files.json_text import parsed_json
from frostline.plan.schema import PlateauData, plan_schema

Backend = Literal["jax", "torch", "tensorflow"]

_MOST = 1_000_000_000
"""Of whatever is counted: Python's own loops end in errors of theirs where numbers are beyond a machine's."""


class CompileData(StrictData):
    """What `model.compile` takes."""

    optimizer: Annotated[
        Any, Field(description="A name, {name: adamw, learning_rate: 1e-3}, or a Keras config.")
    ]
    loss: Annotated[
        Any, Field(description="A name, {name: ..., from_logits: true}, module:function; several as list.")
    ]
    metrics: Annotated[Any, Field(description="A list of the same.")] = None
    loss_weights: Annotated[Any, Field(description="One number for each of several losses.")] = None
    jit_compile: Literal["auto", True, False] = Field("auto", description="Whether XLA compiles the step.")
    steps_per_execution: Annotated[int, Field(ge=1, le=_MOST)] = Field(
        1, description="How many steps run at a time."
    )


class StopEarlyData(PlateauData):
    """Ends the training when a monitored value stops improving."""

    restore_best: bool = Field(False, description="Whether to end with the weights of the best epoch.")


class ReduceLrData(PlateauData):
    """Lowers the learning rate when a monitored value stops improving."""

    factor: float = Field(0.1, gt=0, lt=1, allow_inf_nan=False, description="Multiplies the rate each time.")
    min_lr: float = Field(0.0, ge=0, allow_inf_nan=False, description="The rate does not go below it.")


class RunData(StrictData):
    """A training run: a model, data, what trains, and where the results go."""

    frostline: Literal[1] = Field(description="Version of this format.")
    model: Text = Field(description="A .keras file, or module:function that returns a built model.")
    data: SourceField = Field(description="What to train on.")
    validation: ValidationField = Field(
        ABSENT, description="A fraction of the data to hold out, or a second source."
    )
    plan: Annotated[Any, Field(description="What trains: path of a plan file, or a plan in place.")]
    compile: CompileData = Field(
        ABSENT, description="Optimizer, loss and metrics; the model's own without it."
    )
    epochs: Annotated[int, Field(ge=1, le=_MOST)] = Field(ABSENT, description="How many; none with phases.")
    batch_size: Annotated[int, Field(ge=1, le=_MOST)] = Field(32, description="Samples in a step.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0, description="Of new weights, dropout, the split and the order of the data."
    )
    output: Text = Field(description="The folder to write to.")
    stop_early: StopEarlyData = Field(ABSENT, description="End when a value stops improving.")
    reduce_lr: ReduceLrData = Field(ABSENT, description="Lower the rate when a value stops improving.")
    watch: bool = Field(
        False,
        description="Whether to look at it while it trains: at its ends, and for 1 % of the time between.",
    )
    callbacks: list[FunctionName] = Field(
        default_factory=list, description="module:function, each returns a Keras callback."
    )
    backend: Backend = Field(ABSENT, description="Keras backend; else as for all commands.")
    imports: list[Text] = Field(
        default_factory=list, alias="import", description="Modules to import first, for custom layers."
    )
    unsafe: bool = Field(False, description="Whether to load .keras files that contain Python code.")

    @field_validator("frostline", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        if value is True:  # which Python takes for 1
            raise PydanticCustomError("literal_error", "Input should be 1")
        return value

    @field_validator("plan")
    @classmethod
    def _a_plan(cls, value: Any) -> Any:
        if not isinstance(value, dict) and not (isinstance(value, str) and value):
            raise PydanticCustomError("plan", "the path of a plan file, or a mapping with rules")
        return value


_SECTIONS: dict[str, type[BaseModel]] = {
    "compile": CompileData,
    "stop_early": StopEarlyData,
    "reduce_lr": ReduceLrData,
}


def model_at(data: Any, at: tuple[int | str, ...]) -> type[BaseModel]:
    """Return what describes the mapping at a place of a config."""
    if at[:1] in (("data",), ("validation",)):
        return SOURCE_OF_KIND[str(kind_of(data[at[0]])).strip("<>")]
    return _SECTIONS.get(str(at[0]), RunData) if at else RunData


def run_schema() -> dict[str, Any]:
    """Return the JSON Schema of run configs, also published as `docs/schemas/run.json`."""
    text = json.dumps(RunData.model_json_schema(by_alias=True))
    names = "Npz|Csv|Images|Function|Compile|StopEarly|ReduceLr|Run"
    schema: dict[str, Any] = parsed_json(re.sub(rf"\b({names})Data\b", r"\1", text))
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Frostline run"
    plan = plan_schema()
    schema["$defs"] |= plan["$defs"]
    inline = {key: plan[key] for key in ("type", "additionalProperties", "properties")}
    properties = schema["properties"]
    properties["plan"] |= {"anyOf": [{"type": "string", "minLength": 1}, inline]}
    return schema
