"""Everything that a run needs, built and checked before its folder is touched and before it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from frostline.data.batches import Batches, EpochOrder
from frostline.data.image_folder import ImageFiles
from frostline.data.samples import Samples, Stream, leaves
from frostline.errors import DataError
from frostline.plan.phase import Phase
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule, most_steps
from frostline.render.tables import count, share
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.runs.build import build_callbacks, build_model
from frostline.runs.config import RunConfig
from frostline.runs.data import load_data
from frostline.runs.data_checks import check_fit, check_reported


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin.

    Attributes:
        config: What it follows.
        model: The compiled model.
        train: What it trains on.
        validation: What it is validated on, if anything.
        resolutions: What trains in each phase, or in the one plan.
        callbacks: Those that the config asks for, and those that its data needs.
        x: What to give to `fit` first.
        arguments: What to give to `fit` by name.
        steps: How many steps an epoch has; None where the data does not say.
    """

    config: RunConfig
    model: Any
    train: Samples | Stream
    validation: Samples | Stream | None
    resolutions: tuple[Resolution, ...]
    callbacks: list[Any]
    x: Any
    arguments: dict[str, Any] = field(repr=False)
    steps: int | None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of a schedule; one without a name for a single plan."""
        plan = self.config.plan
        return plan.phases if isinstance(plan, Schedule) else (Phase("all", epochs=self.config.data.epochs),)

    @property
    def epochs(self) -> int | None:
        """How many epochs it takes at most; None where steps end a phase and the data does not say."""
        if self.steps is not None:
            return math.ceil(sum(most_steps(self.phases, self.steps)) / self.steps)
        epochs = [phase.epochs for phase in self.phases if phase.epochs is not None]
        return sum(epochs) if len(epochs) == len(self.phases) else None

    @property
    def steps_of_phases(self) -> tuple[int | None, ...]:
        """How many steps each phase takes at most; None where the data does not say."""
        if self.steps is None:
            return tuple(phase.steps for phase in self.phases)
        return most_steps(self.phases, self.steps)

    @property
    def all_steps(self) -> int | None:
        """How many steps it takes at most; None where the data does not say."""
        return sum(most_steps(self.phases, self.steps)) if self.steps is not None else None


def prepare(config: RunConfig) -> Prepared:
    """Build the model, load the data, and check that they fit one another and the plan.

    Raises:
        FrostlineError: Something does not fit; says what, and for a part of the config its line.
    """
    model = build_model(config)
    resolutions = resolve_phases(config, model)
    train, validation = load_data(config, model)
    for samples in (train, validation):
        if isinstance(samples, Samples):
            check_fit(model, samples)
    callbacks = build_callbacks(config)
    data = config.data
    arguments: dict[str, Any] = {} if isinstance(config.plan, Schedule) else {"epochs": data.epochs}
    if isinstance(train, Stream):
        x, steps = train.data, _length(train.data)
    elif any(isinstance(value, ImageFiles) for _, value in leaves(train.x)):
        x = Batches(train, data.batch_size, data.seed)
        steps = len(x)
        callbacks = [EpochOrder(x), *callbacks]
        arguments["shuffle"] = False
    else:
        x, steps = train.x, math.ceil(len(train) / data.batch_size)
        arguments |= {"y": train.y, "sample_weight": train.weight, "batch_size": data.batch_size}
    if validation is not None:
        arguments["validation_data"] = _validation_data(validation, data.batch_size)
        if not isinstance(validation, Stream) and not isinstance(arguments["validation_data"], Batches):
            arguments["validation_batch_size"] = data.batch_size
    check_reported(model, config, _first_batch(train, data.batch_size))
    return Prepared(config, model, train, validation, resolutions, callbacks, x, arguments, steps)


def resolve_phases(config: RunConfig, model: Any) -> tuple[Resolution, ...]:
    """Resolve the plan of each phase.

    Raises:
        FrostlineError: One does not fit the model, or trains nothing.
    """
    plan = config.plan
    plans = (
        [("the plan", plan)]
        if isinstance(plan, Plan)
        else [(f"the phase {phase.name!r}", plan.plan_of(phase)) for phase in plan.phases]
    )
    resolutions = []
    for name, one in plans:
        resolution = config.document.made(partial(resolve, model, one), ("plan",))
        if not resolution.trained:
            raise config.document.error(
                ("plan",),
                f"{name} trains nothing in the model {model.name!r}",
                received=str(one).replace("\n", "; "),
                remedy="add a rule that trains: {train: 'last:1'} trains the last layer",
            )
        resolutions.append(resolution)
    return tuple(resolutions)


def describe(prepared: Prepared) -> list[tuple[str, str]]:
    """Say what a run is about, each line with its heading."""
    config, data = prepared.config, prepared.config.data
    first = prepared.resolutions[0]
    of = first.elements
    lines = [("model", f"{prepared.model.name} from {data.model}: {count(of, 'element')}")]
    lines.append(("data", _described(prepared)))
    sources = (("read as", prepared.train), ("validation", prepared.validation))
    lines += [(head, text) for head, samples in sources for text in _assumed(head, samples, prepared.train)]
    for phase, resolution in zip(prepared.phases, prepared.resolutions, strict=True):
        trained = resolution.trained_elements
        trains = f"trains {trained:,} elements ({share(trained, of)})"
        text = f"{phase}; {trains}" if isinstance(config.plan, Schedule) else f"{trains}, {_epochs(phase)}"
        lines.append(("phase" if isinstance(config.plan, Schedule) else "plan", text))
    return lines


def _assumed(head: str, samples: Samples | Stream | None, first: Samples | Stream) -> tuple[str, ...]:
    """Return what was assumed in reading data; a share of the first source says nothing of its own."""
    if not isinstance(samples, Samples) or (
        head != "read as" and samples.about == getattr(first, "about", ())
    ):
        return ()
    return samples.about


def _epochs(phase: Phase) -> str:
    return count(phase.epochs or 0, "epoch")


def _described(prepared: Prepared) -> str:
    train, validation = prepared.train, prepared.validation
    if isinstance(train, Stream):
        text = train.source
        if prepared.steps:
            text += f", {count(prepared.steps, 'batch', 'batches')}"
    else:
        steps = count(prepared.steps or 0, "step")
        text = f"{train.source}, {count(len(train), 'sample')}, {steps} an epoch"
        if train.classes:
            text += f", {len(train.classes)} classes"
    if isinstance(validation, Samples):
        text += f"; {count(len(validation), 'sample')} for validation"
    elif validation is not None:
        text += f"; {validation.source} for validation"
    return text


def _validation_data(validation: Samples | Stream, batch_size: int) -> Any:
    if isinstance(validation, Stream):
        return validation.data
    if any(isinstance(value, ImageFiles) for _, value in leaves(validation.x)):
        return Batches(validation, batch_size, None)
    parts = (validation.x, validation.y, validation.weight)
    return parts if validation.weight is not None else parts[:2]


def _first_batch(train: Samples | Stream, batch_size: int) -> tuple[Any, ...] | None:
    if isinstance(train, Samples):
        return train.take(np.arange(min(batch_size, len(train))))
    return None


def _length(data: Any) -> int | None:
    try:
        length = len(data)
    except TypeError:
        return None
    if length < 1:
        raise DataError("the data has no batches", received=f"a {type(data).__name__} of length {length}")
    return length
