"""Plan files: what their messages say, and how they are written, as YAML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frostline.errors import PlanError, PlanFileError
from frostline.files.atomic import write_atomically
from frostline.files.document import Format
from frostline.files.generated import require_means
from frostline.parametrization.registry import ADAPTERS
from frostline.plan.mask_file import with_mask_files
from frostline.plan.schema import model_at
from frostline.render.documents import json_text, yaml_document

PLAN = Format(
    noun="plan",
    in_file=PlanFileError,
    in_data=PlanError,
    model_at=lambda _, at: model_at(at),
    # A selector of these signs is text, and is written without quotes.
    number_at=lambda at: at[-1:] in (("lr",), ("decay",), ("min_delta",), ("alpha",)),
    examples={
        "name": "a name such as probe",
        "monitor": "a name such as val_loss",
        "until": "a mapping such as {monitor: val_loss, patience: 3}",
        "phases": "a mapping such as {name: probe, epochs: 3}",
        "mask": "a mapping such as {file: mask.npy, digest: 'blake3:...'}",
        "file": "the name of a .npy file beside the plan",
        "digest": "'blake3:' and what b3sum prints for the file",
        "via": "a mapping such as {LowRank: {rank: 8, alpha: 16}}",
        **{name: f"a mapping such as {kind.example}" for name, kind in ADAPTERS.items()},
    },
    default_example="a selector: text such as 'head/**', or a mapping with any, all or not",
    first_line="frostline: 1",
    write_one="write one with `frostline init MODEL`",
    quote="quote selectors: train: 'head/**'",
    several="keep one of them; several rules go into the list under 'rules:'",
)
"""What the messages about plan files say."""


def write_plan(data: dict[str, Any], path: str | Path) -> None:
    """Write the data of a plan or a schedule to a file, and beside it a file for each mask."""
    path = Path(path)
    data = with_mask_files(data, path)
    text = json_text(data) + "\n" if path.suffix == ".json" else yaml_document(data)
    require_means(text, data, path, PLAN)
    write_atomically(path, text.encode(), PlanFileError)
