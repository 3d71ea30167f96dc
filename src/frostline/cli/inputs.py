"""What the command line asks about: a model and a batch, from a run config or from files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from frostline.cli.options import AuditOptions
from frostline.data.samples import Samples, Stream
from frostline.data.sources import CsvData, ImagesData
from frostline.diagnostics.explanation import shown
from frostline.errors import AuditError, DataError, FrostlineError, RunError, listed, near, text_of
from frostline.graph.source_lines import users_line_of_error
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.resolution.resolution import Resolution
from frostline.runs.config import RunConfig
from frostline.runs.data import load_source
from frostline.runs.data_checks import check_fit, check_inputs
from frostline.runs.guess import guessed
from frostline.runs.keras_objects import is_categorical, make
from frostline.runs.prepare import prepare

_COLOURS = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True)
class AuditInputs:
    """A model and a batch.

    Attributes:
        model: The model, compiled where it came so.
        batch: Inputs, targets and weights of samples.
        source: Names the data in messages.
        loss: The loss in place of the compiled one, None for that.
        plan: The plan to look at the model under; None for the flags of the model itself.
    """

    model: Any
    batch: tuple[Any, Any, Any]
    source: str
    loss: Any
    plan: Plan | Resolution | None


def from_config(config: RunConfig, chosen: AuditOptions, plan: Plan | Schedule | None) -> AuditInputs:
    """Build what a config names, and take the first samples of its data.

    Args:
        config: The run.
        chosen: How many samples to take, the phase that is meant, and the loss, where it is not the run's.
        plan: Look at the model under this plan; under that of the run without it.

    Raises:
        FrostlineError: As `frostline fit`; or there is no such phase, no such loss, or no batch.
    """
    number = _number_of(plan or config.plan, chosen.phase)
    loss = None if chosen.loss is None else _loss(chosen.loss, config.folder)
    prepared = prepare(config)
    under = prepared.resolutions[number] if plan is None else _plan_of_phase(plan, number)
    batch = _batch(prepared.train, chosen.samples)
    return AuditInputs(prepared.model, batch, prepared.train.source, loss, under)


def from_files(model: Any, data: str, chosen: AuditOptions, plan: Plan | Schedule | None) -> AuditInputs:
    """Take the first samples of some data for a model.

    Args:
        model: The model.
        data: A `.npz` or `.csv` file, a folder of images by class, or `module:function`.
        chosen: The target, the loss and the phase, and how many samples to take.
        plan: Look at the model under this plan.

    Raises:
        RunError: The model has no loss, or there is no such loss or phase.
        DataError: The data cannot be read, or does not fit the model.
    """
    if chosen.loss is None and not getattr(model, "compiled", False):
        raise RunError(
            f"the model {model.name!r} has no loss",
            received="a model that is not compiled",
            expected="the loss that it is trained with",
            remedy="name it: --loss mse, or --loss module:function",
        )
    under = _plan_of_phase(plan, _number_of(plan, chosen.phase))
    loss = None if chosen.loss is None else _loss(chosen.loss, Path.cwd())
    source = guessed(data, model, chosen.target)
    if isinstance(source, CsvData | ImagesData) and is_categorical(loss or getattr(model, "loss", None)):
        source = source.model_copy(update={"labels": "one_hot"})
    found = load_source(source, model, Path.cwd())
    if isinstance(found, Samples) and found.y is None:
        check_inputs(model, found)
    elif isinstance(found, Samples):
        check_fit(model, found, loss)
    return AuditInputs(model, _batch(found, chosen.samples), found.source, loss, under)


@contextmanager
def computing(inputs: AuditInputs) -> Iterator[None]:
    """Turn what Keras or the user's code raises about these data into one error with the user's line.

    Raises:
        AuditError: The loss cannot be computed.
    """
    try:
        yield
    except FrostlineError:
        raise
    except Exception as error:
        where = users_line_of_error(error)
        place = f" ({shown(where)})" if where else ""
        raise AuditError(
            f"the loss of the model {inputs.model.name!r} cannot be computed on {inputs.source}",
            received=f"{type(error).__name__}: {_sentence(error)}{place}",
            remedy="see whether data and loss fit the model; model.evaluate(x, y) shows the full error",
        ) from error


def _number_of(plan: Plan | Schedule | None, phase: str | None) -> int:
    if phase is None:
        return 0
    names = [one.name for one in plan.phases] if isinstance(plan, Schedule) else []
    if phase not in names:
        close = near(phase, names, most=1)
        raise RunError(
            f"the plan has no phase {phase!r}"
            if names
            else f"there is no phase {phase!r}: no plan has phases",
            expected=f"one of {listed(names, most=8)}" if names else None,
            remedy=f"did you mean {close[0]}?" if close else None if names else "leave --phase out",
        )
    return names.index(phase)


def _plan_of_phase(plan: Plan | Schedule | None, number: int) -> Plan | None:
    return plan.plan_of(plan.phases[number]) if isinstance(plan, Schedule) else plan


def _loss(name: str, folder: Path) -> Any:
    made = make("loss", name, folder)
    if isinstance(made, str):
        raise RunError(
            f"{name!r} stands for several losses",
            expected="the name of one loss",
            remedy="name it in full: binary_crossentropy, categorical_crossentropy or "
            "sparse_categorical_crossentropy",
        )
    return made


def _batch(train: Samples | Stream, samples: int) -> tuple[Any, Any, Any]:
    if isinstance(train, Stream):
        found = next(iter(train.data), None)
        if found is None:
            raise DataError(f"what {train.source} returned has no batches", expected="at least one batch")
        found = keras.tree.map_structure(lambda part: _first(part, samples), found)
    else:
        found = train.take(np.arange(min(samples, len(train))))
    x, y, weight = keras.utils.unpack_x_y_sample_weight(found)
    return x, y, weight


def _first(part: Any, samples: int) -> Any:
    return part[:samples] if getattr(part, "shape", ()) else part


def _sentence(error: Exception) -> str:
    """The first line of a message that says something; Keras puts the call before it, in colours."""
    lines = [line.strip() for line in _COLOURS.sub("", text_of(error)).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith("Exception encountered when calling")]
    return (reasons or lines or ["no message"])[0][:300]
