"""What is in a delta, and its file: safetensors, with all else in the header. Nothing here needs a model."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import ConsoleRenderable

from frostline._version import __version__
from frostline.delta.tensor_checks import require_fitting
from frostline.errors import DeltaError, FrostlineError
from frostline.files.atomic import replaced_atomically
from frostline.files.json_text import parsed_json
from frostline.files.reading import read_bytes
from frostline.files.sealed import SEAL, BrokenSealError
from frostline.files.tensor_file import Array, metadata_of, packed_and_sealed, require_seal, unpacked
from frostline.model.inventory import Role
from frostline.render.tables import Rendered, bytes_text, count, share, stacked, table

SCHEMA = "2"
"""The version that is written. Its digest is of every byte of the file but itself."""
SCHEMA_OF_0_1 = "1"
"""Its digest is of the contents, and of the names and the values of tensors: not of dtypes and shapes."""

Kind = Literal["whole", "elements", "parts"]

_KEY, _CONTENTS = "frostline_delta", "contents"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a delta does to one weight or statistic.

    Attributes:
        address: The address.
        role: `weight` or `statistic`.
        shape: The shape of the whole weight.
        dtype: Its dtype.
        kind: `whole` (all its values are replaced), `elements` (some are), or `parts` (it is combined from
            the base and these parts, as with LoRA).
        what: What of it changed, in words.
        how: The parametrization of elements or parts, as `serialize` returns it.
        values: The values by name; the one of a `whole` is named `""`.
        places: The arrays that belong to `how`, such as a mask.
    """

    address: str
    role: Role
    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    what: str
    how: Mapping[str, Any] | None = None
    values: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    places: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(int(value.size) for value in self.values.values())

    @property
    def nbytes(self) -> int:
        """How many bytes these take."""
        return sum(int(a.nbytes) for a in (*self.values.values(), *self.places.values()))

    def to_data(self) -> dict[str, Any]:
        """Return all but the arrays as plain data, for JSON."""
        data = {
            "role": self.role,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "kind": self.kind,
            "what": self.what,
            "values": list(self.values),
        }
        return data if self.how is None else {**data, "how": dict(self.how), "places": list(self.places)}

    @property
    def tensors(self) -> dict[str, Array]:
        """The arrays by their names in the file."""
        values = {_value_name(self.address, name): array for name, array in self.values.items()}
        return values | {_place_name(self.address, name): array for name, array in self.places.items()}


@dataclass(frozen=True, slots=True)
class BaseWeight:
    """What the base has at one address.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        blake3: The digest of its value, as in a `Fingerprint`; `""` where it is not known.
        frozen: The digest of its value with zeros where the delta replaces elements; `""` where it
            replaces none or all of them.
    """

    shape: tuple[int, ...]
    dtype: str
    blake3: str
    frozen: str = ""

    def to_data(self) -> list[Any]:
        """Return it as plain data, for JSON."""
        return [list(self.shape), self.dtype, self.blake3, *([self.frozen] if self.frozen else [])]


@dataclass(frozen=True)
class Delta(Rendered):
    """Only what training changed, as values that replace those of a base. Prints as a table.

    Attributes:
        model: The name of the model.
        entries: What it does, by address.
        base: What the base has, by address, for all weights and statistics.
        plan: The plan that the model was trained under, as in a plan file or as text; None if not known.
        version: The version of Frostline that wrote it.
        lora: For each layer with Keras's own LoRA, by the address of its first factor, the `lora_alpha` that
            it was trained with, which no weight tells.
        sealed_whole: Whether the digest in its file is of every byte. That of a file of 0.1 leaves out the
            dtypes and shapes of tensors, which are then held against what the file says of the base.
    """

    model: str
    entries: Mapping[str, Entry]
    base: Mapping[str, BaseWeight] = field(repr=False)
    plan: Any = field(default=None, repr=False)
    version: str = __version__
    sealed_whole: bool = field(default=True, compare=False)
    lora: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def nbytes(self) -> int:
        """How many bytes these take."""
        return sum(entry.nbytes for entry in self.entries.values())

    @property
    def base_digest(self) -> str:
        """One digest over all that is known of the base."""
        return blake3(_json({a: weight.to_data() for a, weight in self.base.items()}).encode()).hexdigest()

    def renamed(self, names: Mapping[str, str]) -> Delta:
        """Return the same delta with other addresses, where `names` has any."""
        entries = {
            names.get(address, address): replace(entry, address=names.get(address, address))
            for address, entry in self.entries.items()
        }
        base = {names.get(address, address): weight for address, weight in self.base.items()}
        lora = {names.get(address, address): alpha for address, alpha in self.lora.items()}
        return replace(self, entries=entries, base=base, lora=lora)

    def to_data(self) -> dict[str, Any]:
        """Return all but the values as plain data, for JSON."""
        return {
            "model": self.model,
            "frostline": self.version,
            "plan": self.plan,
            "entries": {address: entry.to_data() for address, entry in self.entries.items()},
            "base": {address: weight.to_data() for address, weight in self.base.items()},
            **({"lora": dict(self.lora)} if self.lora else {}),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the delta as one safetensors file, whole or not at all.

        It takes its name once it was read again.

        Raises:
            DeltaError: The file cannot be written, or not be read again.
        """
        path = Path(path)
        arrays = {name: a for entry in self.entries.values() for name, a in entry.tensors.items()}
        contents = _json(self.to_data())
        sealed = packed_and_sealed(arrays, {_KEY: SCHEMA, _CONTENTS: contents})
        with replaced_atomically(path, DeltaError) as temporary:
            temporary.write_bytes(sealed)
            _require_read_again(temporary, path, sealed)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Delta:
        """Read a delta and check that it is as it was written; no model is touched.

        Raises:
            DeltaError: It is not a whole delta, was altered, or is of another version.
        """
        path = Path(path)
        raw = _read(path)
        try:
            arrays = unpacked(raw)
            metadata = metadata_of(raw)
        except ValueError as problem:
            raise _damaged(path, str(problem)) from None
        version, contents = metadata.get(_KEY), metadata.get(_CONTENTS, "")
        if version not in (SCHEMA, SCHEMA_OF_0_1):
            raise DeltaError(
                f"{str(path)!r} is not a delta that this version of Frostline reads",
                received=f"version {version!r}" if version is not None else "another safetensors file",
                expected=f"what frostline.save_delta writes, version {SCHEMA_OF_0_1} or {SCHEMA}",
            )
        try:
            if version == SCHEMA:
                require_seal(raw)
            elif metadata.get(SEAL) != _seal_of_0_1(contents, arrays):
                raise BrokenSealError(metadata.get(SEAL), "")
        except BrokenSealError:
            raise _damaged(path, "its contents do not have the digest that stands in it") from None
        try:
            delta = cls._from_data(parsed_json(contents), arrays, sealed_whole=version == SCHEMA)
            require_fitting(delta, arrays)
        except FrostlineError as problem:
            raise _damaged(path, ": ".join(filter(None, (problem.what, problem.received)))) from None
        except ValidationError as problem:
            raise _damaged(path, _first_of(problem)) from None
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as problem:
            raise _damaged(path, f"{type(problem).__name__}: {problem}") from None
        return delta

    @classmethod
    def _from_data(cls, data: Mapping[str, Any], arrays: Mapping[str, Array], *, sealed_whole: bool) -> Delta:
        found = _ContentsInFile.model_validate(data)
        entries = {address: _entry(address, about, arrays) for address, about in found.entries.items()}
        base = {a: BaseWeight(tuple(shape), *rest) for a, (shape, *rest) in found.base.items()}
        return cls(found.model, entries, base, found.plan, found.frostline, sealed_whole, found.lora)

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (
                entry.address,
                " x ".join(map(str, entry.shape)) or "scalar",
                entry.what,
                f"{entry.size:,}",
                bytes_text(entry.nbytes),
            )
            for entry in self.entries.values()
        ]
        whole = sum(math.prod(weight.shape) for weight in self.base.values())
        return stacked(
            f"Delta of {self.model}: {count(len(rows), 'weight')}, {count(self.size, 'number')}, "
            f"{bytes_text(self.nbytes)} ({share(self.size, whole)} of the model)",
            f"base {self.base_digest[:16]}, written by Frostline {self.version}"
            + ("" if self.sealed_whole else _NOT_SEALED_WHOLE),
            table(("weight", "shape", "what", "numbers", "size"), rows, numbers=("numbers", "size")),
        )


_NOT_SEALED_WHOLE = (
    "; its digest leaves out dtypes and shapes of tensors, so these were checked against what it says of its "
    "base"
)


def _require_read_again(temporary: Path, path: Path, sealed: bytes) -> None:
    try:
        again = _read(temporary)
        Delta.load(temporary)
    except DeltaError as problem:
        received: str | None = problem.received or problem.what
    else:
        received = None if again == sealed else "other bytes than were written"
    if received is not None:
        raise DeltaError(
            f"the delta {str(path)!r} could not be read again after it was written, so it was not kept",
            received=received,
            remedy="write it to another disk; if it happens there too, report it",
        )


class _EntryInFile(BaseModel):
    """What stands in a file of one weight; a seal shows who wrote it no more than anybody else could."""

    model_config = ConfigDict(strict=True, extra="ignore")

    role: Role
    shape: list[Annotated[int, Field(ge=0)]]
    dtype: str
    kind: Kind
    what: str
    values: list[str]
    how: dict[str, Any] | None = None
    places: list[str] = []


_Shape = list[Annotated[int, Field(ge=0)]]
_NotStrict = Field(strict=False)  # JSON has lists in place of tuples; what is in them is strict again
_BaseInFile = (
    Annotated[tuple[_Shape, str, str], _NotStrict] | Annotated[tuple[_Shape, str, str, str], _NotStrict]
)


class _ContentsInFile(BaseModel):
    """What stands in a file beside the tensors."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str
    frostline: str
    entries: dict[str, _EntryInFile]
    base: dict[str, _BaseInFile]
    plan: Any
    lora: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}


def _entry(address: str, about: _EntryInFile, arrays: Mapping[str, Array]) -> Entry:
    return Entry(
        address,
        about.role,
        tuple(about.shape),
        about.dtype,
        about.kind,
        about.what,
        about.how,
        {name: arrays[_value_name(address, name)] for name in about.values},
        {name: arrays[_place_name(address, name)] for name in about.places},
    )


def _first_of(problem: ValidationError) -> str:
    first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'/'.join(map(str, first['loc']))}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _value_name(address: str, name: str) -> str:
    return f"{address}:{name}" if name else address


def _place_name(address: str, name: str) -> str:
    return f"{address}::{name}"


def _read(path: Path) -> bytes:
    return read_bytes(path, DeltaError, "delta", endings=(".safetensors",))


def _damaged(path: Path, why: str) -> DeltaError:
    return DeltaError(
        f"the delta {str(path)!r} is damaged, or was altered after it was written",
        received=why,
        expected="what frostline.save_delta wrote",
        remedy="copy it again, or save it again",
    )


def _json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))


def _seal_of_0_1(contents: str, arrays: Mapping[str, Array]) -> str:
    digest = blake3(contents.encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
