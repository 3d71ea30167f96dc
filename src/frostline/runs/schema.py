"""What a run config may contain: its keys, their types and ranges, and the JSON Schema."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from frostline.plan.schema import PlateauData, plan_schema

KINDS = ("npz", "csv", "images", "function")
"""Where data comes from; each is a key of its own."""

_ABSENT = cast(Any, None)

Text = Annotated[str, Field(min_length=1)]
Backend = Literal["jax", "torch", "tensorflow"]


def _function_name(value: str) -> str:
    module, _, function = value.partition(":")
    if not module or not function:
        raise PydanticCustomError("function", "module:function")
    return value


FunctionName = Annotated[str, AfterValidator(_function_name), Field(pattern=r"^[^:]+:.+$")]

_LIST = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
_COLUMNS = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _LIST]})
_MAPPING = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
_NAMES = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _LIST, _MAPPING]})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NpzData(_Strict):
    """Arrays in a NumPy archive, one entry per sample along their first axis."""

    npz: Text = Field(description="Path of the .npz file.")
    x: Annotated[Any, _NAMES] = Field(
        "x", description="Key of the input; for several, a list or {input: key}."
    )
    y: Annotated[Any, _NAMES] = Field("y", description="Key of the target; for several, a list or a mapping.")
    sample_weight: Text = Field(_ABSENT, description="Key of one weight per sample.")

    @field_validator("x", "y")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = list(value.values()) if isinstance(value, dict) else value
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise PydanticCustomError("names", "a key of the archive, a list of keys, or a mapping to keys")
        return value


class CsvData(_Strict):
    """A table with a line of column names; every feature is a number."""

    csv: Text = Field(description="Path of the file.")
    target: Annotated[Any, _COLUMNS] = Field(_ABSENT, description="The column to predict, or a list of them.")
    features: Annotated[list[Text], Field(min_length=1)] = Field(
        _ABSENT, description="The columns of the input, in order; all others without it."
    )
    sample_weight: Text = Field(_ABSENT, description="The column with the weight of each sample.")
    classes: Annotated[list[Text], Field(min_length=2)] = Field(
        _ABSENT, description="Labels of the target in the order of the model's outputs; sorted without it."
    )
    labels: Literal["index", "one_hot"] = Field("index", description="How labels are given to the loss.")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        ",", description="What stands between two values."
    )

    @field_validator("target")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise PydanticCustomError("names", "the name of a column, or a list of names")
        return value


class ImagesData(_Strict):
    """A folder with one folder of images for each class."""

    images: Text = Field(description="Path of the folder.")
    classes: Annotated[list[Text], Field(min_length=2)] = Field(
        _ABSENT, description="Folders in the order of the model's outputs; sorted without it."
    )
    labels: Literal["index", "one_hot"] = Field("index", description="How labels are given to the loss.")
    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)] = Field(
        _ABSENT, description="Height and width; those of the model's input without it."
    )
    range: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0.0, 255.0], description="What black and white become."
    )


class FunctionData(_Strict):
    """A Python function that returns the data."""

    function: FunctionName = Field(description="module:function; modules beside the config are found.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="What it is called with.")


def _kind_of(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "<fraction>"
    kinds = [kind for kind in KINDS if isinstance(value, dict) and kind in value]
    return f"<{kinds[0]}>" if len(kinds) == 1 else None


_SOURCES = (
    Annotated[NpzData, Tag("<npz>")]
    | Annotated[CsvData, Tag("<csv>")]
    | Annotated[ImagesData, Tag("<images>")]
    | Annotated[FunctionData, Tag("<function>")]
)
Source = NpzData | CsvData | ImagesData | FunctionData
SourceField = Annotated[_SOURCES, Discriminator(_kind_of)]
Fraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
ValidationField = Annotated[_SOURCES | Annotated[Fraction, Tag("<fraction>")], Discriminator(_kind_of)]


class CompileData(_Strict):
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
    steps_per_execution: Annotated[int, Field(ge=1)] = Field(1, description="How many steps run at a time.")


class StopEarlyData(PlateauData):
    """Ends the training when a monitored value stops improving."""

    restore_best: bool = Field(False, description="Whether to end with the weights of the best epoch.")


class ReduceLrData(PlateauData):
    """Lowers the learning rate when a monitored value stops improving."""

    factor: float = Field(0.1, gt=0, lt=1, allow_inf_nan=False, description="Multiplies the rate each time.")
    min_lr: float = Field(0.0, ge=0, allow_inf_nan=False, description="The rate does not go below it.")


class RunData(_Strict):
    """A training run: a model, data, what trains, and where the results go."""

    frostline: Literal[1] = Field(description="Version of this format.")
    model: Text = Field(description="A .keras file, or module:function that returns a built model.")
    data: SourceField = Field(description="What to train on.")
    validation: ValidationField = Field(
        _ABSENT, description="A fraction of the data to hold out, or a second source."
    )
    plan: Annotated[Any, Field(description="What trains: path of a plan file, or a plan in place.")]
    compile: CompileData = Field(
        _ABSENT, description="Optimizer, loss and metrics; the model's own without it."
    )
    epochs: Annotated[int, Field(ge=1)] = Field(_ABSENT, description="How many; none with phases.")
    batch_size: Annotated[int, Field(ge=1)] = Field(32, description="Samples in a step.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0, description="Of new weights, dropout, the split and the order of the data."
    )
    output: Text = Field(description="The folder to write to.")
    stop_early: StopEarlyData = Field(_ABSENT, description="End when a value stops improving.")
    reduce_lr: ReduceLrData = Field(_ABSENT, description="Lower the rate when a value stops improving.")
    callbacks: list[FunctionName] = Field(
        default_factory=list, description="module:function, each returns a Keras callback."
    )
    backend: Backend = Field(_ABSENT, description="Keras backend; else as for all commands.")
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
_SOURCE_OF: dict[str, type[BaseModel]] = {
    "npz": NpzData,
    "csv": CsvData,
    "images": ImagesData,
    "function": FunctionData,
}


def model_at(data: Any, at: tuple[int | str, ...]) -> type[BaseModel]:
    """Return what describes the mapping at a place of a config."""
    if at[:1] in (("data",), ("validation",)):
        return _SOURCE_OF[str(_kind_of(data[at[0]])).strip("<>")]
    return _SECTIONS.get(str(at[0]), RunData) if at else RunData


def run_schema() -> dict[str, Any]:
    """Return the JSON Schema of run configs, also published as `docs/schemas/run.json`."""
    text = json.dumps(RunData.model_json_schema(by_alias=True))
    names = "Npz|Csv|Images|Function|Compile|StopEarly|ReduceLr|Run"
    schema: dict[str, Any] = json.loads(re.sub(rf"\b({names})Data\b", r"\1", text))
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Frostline run"
    plan = plan_schema()
    schema["$defs"] |= plan["$defs"]
    inline = {key: plan[key] for key in ("type", "additionalProperties", "properties")}
    properties = schema["properties"]
    properties["plan"] |= {"anyOf": [{"type": "string", "minLength": 1}, inline]}
    return schema
