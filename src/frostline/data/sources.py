"""What a run config may say of its data: one model of keys, types and ranges for each kind of source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from frostline.files.document import ABSENT, StrictData, Text


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


class NpzData(StrictData):
    """Arrays in a NumPy archive, one entry per sample along their first axis."""

    npz: Text = Field(description="Path of the .npz file.")
    x: Annotated[Any, _NAMES] = Field(
        "x", description="Key of the input; for several, a list or {input: key}."
    )
    y: Annotated[Any, _NAMES] = Field("y", description="Key of the target; for several, a list or a mapping.")
    sample_weight: Text = Field(ABSENT, description="Key of one weight per sample.")

    @field_validator("x", "y")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = list(value.values()) if isinstance(value, dict) else value
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise PydanticCustomError("names", "a key of the archive, a list of keys, or a mapping to keys")
        return value


class CsvData(StrictData):
    """A table with a line of column names; every feature is a number."""

    csv: Text = Field(description="Path of the file.")
    target: Annotated[Any, _COLUMNS] = Field(ABSENT, description="The column to predict, or a list of them.")
    features: Annotated[list[Text], Field(min_length=1)] = Field(
        ABSENT, description="The columns of the input, in order; all others without it."
    )
    sample_weight: Text = Field(ABSENT, description="The column with the weight of each sample.")
    classes: Annotated[list[Text], Field(min_length=2)] = Field(
        ABSENT, description="Labels of the target in the order of the model's outputs; sorted without it."
    )
    labels: Literal["index", "one_hot"] = Field("index", description="How labels are given to the loss.")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        ",", description="What stands between two values."
    )
    header: bool = Field(
        ABSENT,
        description="Whether the first line has the names of the columns. Without it, it must not look like "
        "numbers; with false the columns are named by their places: '1', '2', and so on.",
    )

    @field_validator("target")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise PydanticCustomError("names", "the name of a column, or a list of names")
        return value


class ImagesData(StrictData):
    """A folder with one folder of images for each class."""

    images: Text = Field(description="Path of the folder.")
    classes: Annotated[list[Text], Field(min_length=2)] = Field(
        ABSENT, description="Folders in the order of the model's outputs; sorted without it."
    )
    labels: Literal["index", "one_hot"] = Field("index", description="How labels are given to the loss.")
    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)] = Field(
        ABSENT, description="Height and width; those of the model's input without it."
    )
    range: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0.0, 255.0], description="What black and white become."
    )


class FunctionData(StrictData):
    """A Python function that returns the data."""

    function: FunctionName = Field(description="module:function; modules beside the config are found.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="What it is called with.")


def kind_of(value: Any) -> str | None:
    """Return the tag of a source, None where it has no kind or several.

    In angle brackets, so that no key of a source can be taken for a tag in the place of an error.
    """
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
SourceField = Annotated[_SOURCES, Discriminator(kind_of)]
Fraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
ValidationField = Annotated[_SOURCES | Annotated[Fraction, Tag("<fraction>")], Discriminator(kind_of)]

SOURCE_OF_KIND: dict[str, type[BaseModel]] = {
    "npz": NpzData,
    "csv": CsvData,
    "images": ImagesData,
    "function": FunctionData,
}

KINDS = tuple(SOURCE_OF_KIND)
"""Where data comes from; each is a key of its own."""
