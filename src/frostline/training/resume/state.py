"""All that a run's future depends on, between two epochs, as plain data and arrays; and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline._keras.trainers import renew_functions, sync_values
from frostline.elements.algebra import everything, positions
from frostline.elements.sets import Elements
from frostline.errors import ResumeError, listed
from frostline.model.inventory import Weight
from frostline.optimizers import rebuild as optimizer
from frostline.optimizers.rebuild import Memory
from frostline.resolution.parts import Parts
from frostline.trainability.apply import apply
from frostline.training.job import Job, Progress
from frostline.training.ledger import Ledger
from frostline.training.resume.checkpoint import Checkpoint
from frostline.training.resume.random_state import Randomness

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """The model and the optimizer of a job, and what of them a checkpoint holds."""

    job: Job

    @cached_property
    def moving(self) -> tuple[Weight, ...]:
        """What may change in the run: what trains or moves in any phase, and seeds."""
        held = self.job.resolutions[0].inventory
        moves = {
            decision.weight.address
            for resolution in self.job.resolutions
            for decision in (*resolution.trained, *resolution.statistics)
            if decision.trains
        }
        return tuple(w for w in held if w.address in moves or w.role == "seed")

    @cached_property
    def parts(self) -> Parts:
        """What trains of the weights that train in part."""
        return Parts.of(self.job.resolutions)

    @property
    def places(self) -> dict[str, int]:
        """Where in `model.get_weights()` these stand now."""
        whole = {weight.address: weight.variable for weight in self.moving}
        parts = {address: v for weight in self.moving for address, v in weight.targets}
        address_of = {id(v): address for address, v in (whole | parts).items()}
        weights = enumerate(self.job.model.weights)
        return {address_of[id(v)]: place for place, v in weights if id(v) in address_of}

    def _values(self) -> dict[str, Array]:
        """Return the values of all that may change, by address."""
        found: dict[str, Array] = {}
        for weight in self.moving:
            elements = self._elements(weight)
            if elements is not None:
                found[f"{weight.address}:elements"] = weight.numpy()[positions(_all(weight), elements)]
                continue
            if self._merges(weight):
                found[f"{weight.address}:base"] = _value(weight.storage)
            if weight.combination is not None or not self._merges(weight):
                found |= {address: _value(variable) for address, variable in weight.targets}
        return found

    def _restore_values(self, values: Mapping[str, Array]) -> None:
        for weight in self.moving:
            if (some := values.get(f"{weight.address}:elements")) is not None:
                elements = self._elements(weight)
                assert elements is not None
                whole = weight.numpy().copy()
                whole[positions(_all(weight), elements)] = some
                weight.variable.assign(whole)
            if (base := values.get(f"{weight.address}:base")) is not None:
                weight.storage.assign(base)
            for address, variable in weight.targets:
                if address in values:
                    variable.assign(values[address])

    def _elements(self, weight: Weight) -> Elements | None:
        """Return the elements that a plan trains in any phase; None where it trains anything else of it."""
        part = self.parts.over_all.get(weight.address)
        if part is None or _is_by_hand(weight):
            return None
        return self.parts.every[weight.address][part].elements(weight.shape)

    def _merges(self, weight: Weight) -> bool:
        """Whether a parametrization comes or goes between phases, so that the base itself changes."""
        trained_in_part = weight.address in self.parts.every and not _is_by_hand(weight)
        return trained_in_part and weight.address not in self.parts.over_all

    def take(self, progress: Progress) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the state of model, optimizer, schedule and books."""
        sync_values(self.job.model)
        arrays = {f"model/{address}": value for address, value in self._values().items()}
        variables = optimizer.named_variables(self.job.model.optimizer)
        arrays |= {f"optimizer/{name}": _value(variable) for name, variable in variables.items()}
        memory = optimizer.memory_of(self.job.model.optimizer)
        for address, (slots, _) in memory.parked.items():
            arrays |= {f"parked/{address}/{name}": value for name, value in slots.items()}
        parked = {address: [steps, list(slots)] for address, (slots, steps) in memory.parked.items()}
        state: dict[str, Any] = {
            "optimizer": {"parked": parked, "joined": dict(memory.joined)},
            "ledger": progress.ledger.to_data(),
            "started": progress.started,
            "seconds": progress.seconds,
        }
        if progress.switch is not None:
            state["schedule"], best = progress.switch.to_data()
            arrays |= {f"best/{address}": value for address, value in best.items()}
        return state, arrays

    def restore(self, saved: Checkpoint) -> Progress:
        """Put the state of a checkpoint on model and optimizer, and return schedule and books."""
        job, state = self.job, saved.state
        ledger = Ledger.from_data(job.model, state["ledger"], job.resolutions)
        progress = Progress.of(job, ledger, state["started"], state["seconds"])
        number = 0
        if progress.switch is not None:
            progress.switch.go_to(state["schedule"], part(saved.arrays, "best/"))
            number = progress.switch.number
        apply(job.model, job.resolutions[number], keep_state=job.keep_state)
        self._restore_values(part(saved.arrays, "model/"))
        self._restore_optimizer(saved)
        # They may have been traced with other groups.
        renew_functions(job.model)
        return progress

    def _restore_optimizer(self, saved: Checkpoint) -> None:
        opt, state = self.job.model.optimizer, saved.state["optimizer"]
        variables, values = optimizer.named_variables(opt), part(saved.arrays, "optimizer/")
        if set(variables) != set(values):
            raise ResumeError(
                f"the optimizer {type(opt).__name__} holds other variables than the one in the checkpoint",
                received=listed(sorted(set(variables) ^ set(values))),
                remedy="compile the model as when the run began, or name another folder for another run",
            )
        for name, variable in variables.items():
            variable.assign(values[name])
        parked = {
            address: ({name: saved.arrays[f"parked/{address}/{name}"] for name in slots}, steps)
            for address, (steps, slots) in state["parked"].items()
        }
        optimizer.remember(opt, Memory(parked, state["joined"]))


def _is_by_hand(weight: Weight) -> bool:
    return weight.combination is not None and not weight.combination.by_plan


def _all(weight: Weight) -> Elements:
    return everything(weight.shape)


def with_randomness(state: dict[str, Any], arrays: dict[str, Array], **moments: Randomness) -> None:
    """Add the random state of named moments to a snapshot."""
    state["random"] = {name: dict(one.state) for name, one in moments.items()}
    for name, one in moments.items():
        arrays |= {f"random/{name}/{key}": value for key, value in one.arrays.items()}


def randomness(saved: Checkpoint, moment: str) -> Randomness:
    """Return the random state of a moment in a checkpoint."""
    return Randomness(saved.state["random"][moment], part(saved.arrays, f"random/{moment}/"))


def part(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _value(variable: Any) -> Array:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable))
