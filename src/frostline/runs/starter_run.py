"""A commented run config to start from, written for one model and one source of data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill, indent
from typing import Any

import numpy as np

from frostline.data.csv_table import load_csv
from frostline.data.image_folder import check_images
from frostline.data.sources import CsvData, FunctionData, ImagesData, NpzData
from frostline.errors import listed
from frostline.files.generated import require_means
from frostline.model.user_code import names_function
from frostline.render.documents import comment, yaml_list, yaml_text
from frostline.runs.config import RUN
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
    """How a config speaks of some data.

    Attributes:
        about: A comment on it, escaped.
        lines: Lines of the config.
        meant: What is to be read of them.
        target: What its targets look like, where that can be seen.
    """

    about: str
    lines: list[str]
    meant: dict[str, Any] = field(default_factory=dict)
    target: _Target | None = None


def starter_run(
    model: Any,
    name: str,
    data: str,
    *,
    folder: Path,
    output: str,
    file: Path = Path("run.yaml"),
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
        file: The name of the config, for messages.
        imports: Modules to import first.
        unsafe: Whether to load a model that contains Python code.

    Raises:
        DataError: The data is of no known kind, or nothing in it can be guessed at.
        RunConfigError: A config that says all this cannot be written.
    """
    source = _source(model, data, folder)
    loss, logits, why = _loss(model, source.target)
    loading = [f"import: {yaml_list(imports)}"] if imports else []
    loading += ["unsafe: true"] if unsafe else []
    model_name = name if names_function(name) else _relative(Path(name), folder)
    rules, rules_meant = starter_rules(model)
    text = _TEXT.format(
        model=yaml_text(model_name),
        loading="".join(f"{line}\n" for line in loading),
        about=source.about,
        data="\n".join(f"  {line}" for line in source.lines),
        loss_about=fill(comment(why), 108, initial_indent="# ", subsequent_indent="# "),
        loss=f"{{name: {loss}, from_logits: true}}" if logits else loss,
        metrics=f"  metrics: [{_metric(loss)}]\n",
        plan=indent(rules, "  "),
        output=yaml_text(output),
    )
    meant = {
        "frostline": 1,
        "model": model_name,
        **({"import": list(imports)} if imports else {}),
        **({"unsafe": True} if unsafe else {}),
        "data": source.meant,
        "validation": 0.2,
        "compile": {
            "optimizer": {"name": "adam", "learning_rate": 1e-3},
            "loss": {"name": loss, "from_logits": True} if logits else loss,
            "metrics": [_metric(loss)],
        },
        "plan": {"rules": rules_meant},
        "epochs": 5,
        "batch_size": 32,
        "seed": 0,
        "output": output,
    }
    require_means(text, meant, file, RUN)
    return text


def _source(model: Any, data: str, folder: Path) -> _Source:
    found = guessed(data, model)
    if isinstance(found, FunctionData):
        about = "A Python function that returns (x, y), a dataset or batches."
        return _Source(about, [f"function: {yaml_text(data)}", "# arguments: {}"], {"function": data})
    place = _relative(Path(data), folder)
    if isinstance(found, ImagesData):
        return _images(found, place)
    return _npz(found, place) if isinstance(found, NpzData) else _csv(found, place)


def _images(found: ImagesData, place: str) -> _Source:
    classes = check_images(Path(found.images), found)
    meant: dict[str, Any] = {"images": place}
    lines = [_line("images", place), f"# The classes, in the order of the outputs: {_names(classes)}"]
    if found.size:
        lines += ["# The model takes images of any size.", f"size: {found.size}"]
        meant["size"] = list(found.size)
    if "range" in found.model_fields_set:
        lines += ["# What black and white become; the model seems not to scale them itself.", "range: [0, 1]"]
        meant["range"] = [0, 1]
    about = "A folder with one folder of images for each class."
    return _Source(about, lines, meant, _Target(True, len(classes), ()))


def _npz(found: NpzData, place: str) -> _Source:
    arrays = arrays_in(Path(found.npz))
    meant = {"npz": place, "x": found.x, "y": found.y}
    about = f"Arrays in a NumPy archive: {comment(described(arrays))}."
    return _Source(about, [_line(*item) for item in meant.items()], meant, _target(arrays[found.y]))


def _csv(found: CsvData, place: str) -> _Source:
    path = Path(found.csv)
    samples, (columns, _) = load_csv(path, found), columns_in(path)
    target = str(found.target)
    meant = {"csv": place, "target": target}
    lines = [
        _line("csv", place),
        "# The column to predict, guessed by its name, or as the last one.",
        _line("target", target),
    ]
    if samples.classes:
        lines.append(f"# Its labels, in the order of the outputs: {_names(samples.classes)}")
    features = yaml_list(name for name in columns if name != target)
    lines += ["# The columns of the input; all others without it:", f"# features: {features}"]
    if found.delimiter != ",":
        lines.append(_line("delimiter", found.delimiter))
        meant["delimiter"] = found.delimiter
    about = f"A table: {len(samples):,} lines, {len(columns)} columns."
    seen = _Target(True, len(samples.classes), ()) if samples.classes else _target(samples.y)
    return _Source(about, lines, meant, seen)


def _line(key: str, value: str) -> str:
    return f"{key}: {yaml_text(value)}"


def _names(classes: Sequence[str]) -> str:
    """Name classes in a comment; each by itself, so that a comma in one makes no two of it."""
    return listed((comment(name) if "," not in name else yaml_text(name) for name in classes), most=8)


def _loss(model: Any, target: _Target | None) -> tuple[str, bool, str]:
    """Guess a loss, and whether it takes logits, from the last activation and the targets; and say why."""
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
        return "mse", False, f"The loss is a guess: {seen}, so the targets are taken for quantities."
    return kind, logits, f"The loss is a guess: {seen}, so the targets are taken for {what}."


def _metric(loss: str) -> str:
    return "accuracy" if "crossentropy" in loss else "mae"


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
