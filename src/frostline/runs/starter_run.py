"""A commented run config to start from, written for one model and one source of data."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill, indent
from typing import Any

import numpy as np

from frostline.data.csv_table import load_csv
from frostline.data.image_folder import check_images
from frostline.data.sources import CsvData, FunctionData, ImagesData, NpzData
from frostline.errors import listed
from frostline.model.user_code import names_function
from frostline.runs.guess import arrays_in, columns_in, described, guessed, layers_in
from frostline.runs.starter_plan import starter_rules

_TEXT = """\
# A training run. Try it: frostline fit THIS_FILE --dry-run. Train: frostline fit THIS_FILE
# Every path begins at the folder of this file.
frostline: 1

# A .keras file, or module:function that returns a built model.
model: {model}
{loading}
# {about}
data:
{data}

# A fraction of the data to hold out, or a second source, written as data is.
validation: 0.2

{loss_about}
compile:
  optimizer: {{name: adam, learning_rate: 1e-3}}
  loss: {loss}
{metrics}
# What trains; or the path of a plan file. The last rule that picks a weight decides.
plan:
{plan}
  # First the head, then more, in one training; in place of epochs below:
  # phases:
  #   - {{name: probe, epochs: 3}}
  #   - {{name: finetune, epochs: 5, lr: 0.1, rules: [{{train: "last:2"}}]}}

epochs: 5
batch_size: 32
seed: 0

# End when a value stops improving:
# stop_early: {{monitor: val_loss, patience: 3}}
# Lower the learning rate when it does:
# reduce_lr: {{monitor: val_loss, patience: 2, factor: 0.5}}

# The folder for the model, its receipt and its history.
output: {output}
"""


@dataclass(frozen=True, slots=True)
class _Target:
    """What the targets of some data look like.

    Attributes:
        labels: Whether they are numbers of classes, or labels.
        classes: How many; 0 where it has none.
        shape: Of the target of one sample.
    """

    labels: bool
    classes: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    about: str
    lines: list[str]
    target: _Target | None


def starter_run(
    model: Any,
    name: str,
    data: str,
    *,
    folder: Path,
    output: str,
    imports: Sequence[str] = (),
    unsafe: bool = False,
) -> str:
    """Return a run config for a model and some data; its loss is guessed, and says why.

    Args:
        model: The built model.
        name: Its name on the command line: a `.keras` file or `module:function`.
        data: A `.npz` or `.csv` file, a folder of images by class, or `module:function`.
        folder: Where the config will stand; paths in it begin there.
        output: The folder that the run is to write to.
        imports: Modules to import first.
        unsafe: Whether to load a model that contains Python code.

    Raises:
        DataError: The data is of no known kind, or nothing in it can be guessed at.
    """
    source = _source(model, data, folder)
    loss, why = _loss(model, source.target)
    loading = [f"import: [{', '.join(map(_quoted, imports))}]"] if imports else []
    loading += ["unsafe: true"] if unsafe else []
    return _TEXT.format(
        model=_quoted(name if names_function(name) else _relative(Path(name), folder)),
        loading="".join(f"{line}\n" for line in loading),
        about=source.about,
        data="\n".join(f"  {line}" for line in source.lines),
        loss_about=fill(why, 108, initial_indent="# ", subsequent_indent="# "),
        loss=loss,
        metrics=_metrics(loss),
        plan=indent(starter_rules(model), "  "),
        output=_quoted(output),
    )


def _source(model: Any, data: str, folder: Path) -> _Source:
    found = guessed(data, model)
    if isinstance(found, FunctionData):
        about = "A Python function that returns (x, y), a dataset or batches."
        return _Source(about, [f"function: {_quoted(data)}", "# arguments: {}"], None)
    shown = _quoted(_relative(Path(data), folder))
    if isinstance(found, ImagesData):
        return _images(found, shown)
    return _npz(found, shown) if isinstance(found, NpzData) else _csv(found, shown)


def _images(found: ImagesData, shown: str) -> _Source:
    classes = check_images(Path(found.images), found)
    lines = [f"images: {shown}", f"# The classes, in the order of the outputs: {listed(classes, most=8)}"]
    if found.size:
        lines += ["# The model takes images of any size.", f"size: {found.size}"]
    if "range" in found.model_fields_set:
        lines += ["# What black and white become; the model seems not to scale them itself.", "range: [0, 1]"]
    return _Source(
        "A folder with one folder of images for each class.", lines, _Target(True, len(classes), ())
    )


def _npz(found: NpzData, shown: str) -> _Source:
    arrays = arrays_in(Path(found.npz))
    lines = [f"npz: {shown}", f"x: {_quoted(found.x)}", f"y: {_quoted(found.y)}"]
    return _Source(f"Arrays in a NumPy archive: {described(arrays)}.", lines, _target(arrays[found.y]))


def _csv(found: CsvData, shown: str) -> _Source:
    path = Path(found.csv)
    samples, (columns, _) = load_csv(path, found), columns_in(path)
    lines = [
        f"csv: {shown}",
        "# The column to predict, guessed by its name, or as the last one.",
        f"target: {_quoted(found.target)}",
    ]
    if samples.classes:
        lines.append(f"# Its labels, in the order of the outputs: {listed(samples.classes, most=8)}")
    features = _flow(columns, found.target)
    lines += ["# The columns of the input; all others without it:", f"# features: {features}"]
    if found.delimiter != ",":
        lines.append(f"delimiter: {_quoted(found.delimiter)}")
    target = _Target(True, len(samples.classes), ()) if samples.classes else _target(samples.y)
    return _Source(f"A table: {len(samples):,} lines, {len(columns)} columns.", lines, target)


def _loss(model: Any, target: _Target | None) -> tuple[str, str]:
    """Guess a loss from the last activation and the targets, and say why."""
    outputs = list(getattr(model, "outputs", None) or [])
    units = outputs[0].shape[-1] if len(outputs) == 1 and len(outputs[0].shape) > 1 else None
    activation = _last_activation(model)
    seen = f"the model ends in {units or 'some'} outputs with the activation {activation}"
    if target is None:
        seen += "; look whether it suits the targets"
    labels = target is None or target.labels
    logits = activation == "linear"
    if activation == "softmax" or (logits and target is not None and 1 < target.classes <= (units or 0)):
        kind, what = ("sparse_categorical_crossentropy", "class numbers")
        if not labels:
            kind, what = ("categorical_crossentropy", "rows, one value for each output")
    elif activation == "sigmoid" or (logits and units == 1 and target is not None and target.classes == 2):
        kind, what = ("binary_crossentropy", "0 and 1")
    else:
        return "mse", f"The loss is a guess: {seen}, so the targets are taken for quantities."
    guess = f"{{name: {kind}, from_logits: true}}" if logits else kind
    return guess, f"The loss is a guess: {seen}, so the targets are taken for {what}."


def _metrics(loss: str) -> str:
    return "  metrics: [accuracy]\n" if "crossentropy" in loss else "  metrics: [mae]\n"


def _last_activation(model: Any) -> str:
    for layer in reversed(layers_in(model)):
        activation = getattr(layer, "activation", None)
        if activation is not None:
            return str(getattr(activation, "__name__", type(activation).__name__)).lower()
        if type(layer).__name__ in ("Softmax",):
            return "softmax"
        if layer.weights:
            return "linear"
    return "linear"


def _target(y: Any) -> _Target:
    shape = tuple(y.shape[1:])
    flat = y.reshape(-1)
    whole = flat.dtype.kind in "biu" or bool(np.all(np.isfinite(flat)) and np.all(flat == np.floor(flat)))
    few = (
        whole
        and flat.size
        and flat.min() >= 0
        and shape in ((), (1,))
        and flat.max() < max(2, flat.size // 2)
    )
    return _Target(bool(few), int(flat.max()) + 1 if few else 0, shape)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _flow(columns: list[str], target: str) -> str:
    return "[" + ", ".join(_quoted(name) for name in columns if name != target) + "]"


def _quoted(text: str) -> str:
    """Text as YAML takes it, in quotes where need be."""
    plain = text.replace("_", "").replace(".", "").replace("/", "").replace("-", "")
    if plain.isascii() and plain.isalnum() and text[0].isalpha() and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
"""What YAML takes for something else than text."""
