"""Whether data fits a model and its losses: found before training, with both shapes named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from frostline._keras.layers import ends_of
from frostline.data.image_folder import shown_shape
from frostline.data.ranges import misfit
from frostline.data.samples import Samples, leaves
from frostline.errors import DataError, listed, near
from frostline.runs.config import RunConfig, monitored
from frostline.runs.keras_objects import is_binary, is_categorical, is_elementwise, is_sparse

Shape = tuple[int | None, ...]


def check_fit(model: Any, samples: Samples, loss: Any = None) -> None:
    """Raise `DataError` where samples do not fit the inputs, outputs and losses of a model.

    A model that says nothing of its inputs or outputs (a subclassed one) is checked against nothing.

    Args:
        model: The model.
        samples: What it is to be given.
        loss: Stands in for the compiled loss.
    """
    check_inputs(model, samples)
    if samples.y is None:
        raise DataError(
            f"{samples.source} has no targets", expected="y as well as x", remedy="name them under data: y:"
        )
    for name, output, target, compiled in _outputs(model, samples):
        _check_output(model, samples, name, output, target, compiled if loss is None else loss)


def check_reported(model: Any, config: RunConfig, first: tuple[Any, ...] | None) -> None:
    """Raise `RunConfigError` where a value is monitored that this training will not report.

    Args:
        model: The compiled model; no weight of it moves.
        config: What is monitored.
        first: A batch, on which the model is evaluated to learn its metrics' names; None where there is none.
    """
    if first is None:
        return
    watched = [(at, name) for at, name in monitored(config) if name not in ("loss", "val_loss")]
    if not watched:
        return
    names = sorted(model.test_on_batch(*first, return_dict=True))
    model.reset_metrics()
    if config.data.validation is not None:
        names += [f"val_{name}" for name in names]
    for at, name in watched:
        if name not in names:
            close = near(name, names, most=1)
            raise config.document.error(
                at,
                f"{name!r} is monitored, which this training does not report",
                received=f"it reports {listed(names, most=8)}",
                remedy=f"did you mean {close[0]!r}?" if close else "name a metric under compile: metrics:",
            )


def check_inputs(model: Any, samples: Samples) -> None:
    """Raise `DataError` where samples do not fit the inputs of a model."""
    inputs = ends_of(model, "inputs")
    given = leaves(samples.x)
    if not inputs:
        return
    names = _names(model, "input_names", inputs)
    if len(given) != len(inputs):
        raise DataError(
            f"{samples.source} does not fit the inputs of the model {model.name!r}",
            received=f"{len(given)} arrays: {_arrays(given)}",
            expected=f"{len(inputs)}: {_described(names, inputs)}",
            remedy="name them under data: x: as {input: array}",
        )
    if isinstance(samples.x, dict) and set(samples.x) != set(names):
        strange = [name for name in samples.x if name not in names]
        raise DataError(
            f"the model {model.name!r} has no input {listed(map(repr, strange))}",
            expected=f"an array for each of {listed(names)}",
        )
    pairs = [(samples.x[n], n) for n in names] if isinstance(samples.x, dict) else [(v, "") for _, v in given]
    for (value, name), tensor in zip(pairs, inputs, strict=True):
        wanted = tuple(tensor.shape[1:])
        if not _fits(tuple(value.shape[1:]), wanted):
            raise DataError(
                f"x of {samples.source} does not fit the input{f' {name!r}' if name else ''} of the model "
                f"{model.name!r}",
                received=f"samples of shape {_per_sample(value)}",
                expected=f"samples of shape {shown_shape(wanted)}",
            )
        for dtype in _dtypes(model, str(tensor.dtype)):
            _require_fitting(samples, f"x {name!r}" if name else "x", value, dtype)


def _dtypes(model: Any, dtype: str) -> list[str]:
    """Return what the numbers of an input are stored in on their way: its dtype, and that of the layers."""
    computes = str(getattr(model, "compute_dtype", None) or dtype)
    return [dtype, *([computes] if "float" in dtype and "float" in computes and computes != dtype else [])]


def _require_fitting(samples: Samples, part: str, values: Any, dtype: str) -> None:
    """Refuse numbers that become others in the dtype that the model takes."""
    if not isinstance(values, np.ndarray) or (found := misfit(values, dtype)) is None:
        return
    place, why = found
    sample = place // max(int(np.prod(values.shape[1:])), 1)
    raise DataError(
        f"{samples.source}{_row(samples, sample)}: {part} holds a number that does not fit {dtype}, "
        "which the model takes",
        received=f"{values.reshape(-1)[place]:.17g}" if values.dtype.kind == "f" else f"{values.flat[place]}",
        expected=why,
        remedy="scale the data, or give the model an input that holds such numbers",
    )


def _row(samples: Samples, sample: int) -> str:
    row = samples.rows[sample] if samples.rows is not None else f"{sample:,}"
    return f", {samples.row_noun} {row}"


def _outputs(model: Any, samples: Samples) -> list[tuple[str, Shape, Any, Any]]:
    """Return name, shape, targets and loss of each output; nothing where the model does not say."""
    outputs = ends_of(model, "outputs")
    if not outputs:
        return []
    names = _names(model, "output_names", outputs)
    given = leaves(samples.y)
    if len(given) != len(outputs):
        raise DataError(
            f"{samples.source} does not fit the outputs of the model {model.name!r}",
            received=f"{len(given)} arrays of targets",
            expected=f"{len(outputs)}: {_described(names, outputs)}",
            remedy="name them under data: y: as {output: array}",
        )
    if isinstance(samples.y, dict):
        if set(samples.y) != set(names):
            strange = [name for name in samples.y if name not in names]
            raise DataError(
                f"the model {model.name!r} has no output {listed(map(repr, strange))}",
                expected=f"targets for each of {listed(names)}",
            )
        given = [(name, samples.y[name]) for name in names]
    losses = _losses(model, names)
    single = len(outputs) == 1
    return [
        ("" if single else name, tuple(tensor.shape[1:]), value, loss)
        for name, tensor, (_, value), loss in zip(names, outputs, given, losses, strict=True)
    ]


def _losses(model: Any, names: Sequence[str]) -> list[Any]:
    loss = model.loss
    if isinstance(loss, dict):
        return [loss.get(name) for name in names]
    if isinstance(loss, list | tuple):
        return list(loss) if len(loss) == len(names) else [None] * len(names)
    return [loss] * len(names)


def _check_output(model: Any, samples: Samples, name: str, output: Shape, target: Any, loss: Any) -> None:
    which = f" of the output {name!r}" if name else ""
    own = tuple(target.shape[1:])
    if is_sparse(loss):
        if not (_fits(own, output[:-1]) or own == (*output[:-1], 1)):
            one_hot = own == output
            raise DataError(
                f"y of {samples.source} does not fit the output of the model {model.name!r}",
                received=f"targets of shape {shown_shape(own)}{which}, an output of {shown_shape(output)}",
                expected=f"one class number for each sample: targets of {shown_shape(output[:-1])}",
                remedy="for one-hot targets use the loss categorical_crossentropy" if one_hot else None,
            )
        _check_labels(samples, np.asarray(target), output[-1], which)
        return
    if loss is None or not is_elementwise(loss):
        return
    if not _fits(own, output) and (own, output) != ((), ()):
        sparse = is_categorical(loss) and own in ((), (1,))
        raise DataError(
            f"y of {samples.source} does not fit the output of the model {model.name!r}",
            received=f"targets of shape {shown_shape(own)}{which}",
            expected=f"targets of shape {shown_shape(output)}",
            remedy="for class numbers use the loss sparse_categorical_crossentropy, or labels: one_hot"
            if sparse
            else None,
        )
    values = np.asarray(target)
    _require_fitting(samples, f"y{which}", values, str(keras.config.floatx()))
    if is_binary(loss) and values.size and (np.nanmin(values) < 0 or np.nanmax(values) > 1):
        raise DataError(
            f"y of {samples.source} does not fit the loss binary_crossentropy",
            received=f"targets from {np.nanmin(values):g} to {np.nanmax(values):g}",
            expected="targets between 0 and 1",
            remedy="for class numbers use the loss sparse_categorical_crossentropy",
        )


def _check_labels(samples: Samples, labels: Any, classes: int | None, which: str) -> None:
    if classes is None or not labels.size:
        return
    flat = labels.reshape(len(labels), -1)
    with np.errstate(invalid="ignore"):
        wrong = (flat != np.floor(flat)) | (flat < 0) | (flat >= classes)
    if not wrong.any():
        return
    first = int(np.argmax(wrong.any(axis=1)))
    value = flat[first][np.argmax(wrong[first])]
    row = _row(samples, first)
    known = f" ({listed(samples.classes)})" if samples.classes else ""
    raise DataError(
        f"{samples.source}{row}: the target {value:g} is not a class of the model",
        received=f"targets from {np.nanmin(labels):g} to {np.nanmax(labels):g}{which}{known}",
        expected=f"whole numbers from 0 to {classes - 1}, since the output has {classes} classes",
        remedy=f"give the last layer {int(np.nanmax(labels)) + 1} units, or correct the targets"
        if value >= classes
        else None,
    )


def _fits(own: Shape, wanted: Shape) -> bool:
    """Whether shapes agree, as far as Keras needs it: it adds and drops a last axis of 1 by itself."""
    if len(own) == len(wanted) + 1 and own[-1] == 1:
        own = own[:-1]
    elif len(wanted) == len(own) + 1 and wanted[-1] == 1:
        wanted = wanted[:-1]
    return len(own) == len(wanted) and all(w is None or o == w for o, w in zip(own, wanted, strict=True))


def _names(model: Any, attribute: str, tensors: Sequence[Any]) -> list[str]:
    return list(getattr(model, attribute, None) or [tensor.name for tensor in tensors])


def _arrays(given: Sequence[tuple[str, Any]]) -> str:
    return listed(f"{name or 'x'} {_per_sample(value)}" for name, value in given)


def _per_sample(value: Any) -> str:
    return shown_shape(tuple(value.shape[1:]))


def _described(names: Sequence[str], tensors: Sequence[Any]) -> str:
    return listed(f"{n} {shown_shape(tuple(t.shape[1:]))}" for n, t in zip(names, tensors, strict=True))
