"""All that a run's future depends on, between two epochs, as plain data and arrays; and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from frostline._keras.trainers import renew_functions, sync_values
from frostline._keras.variables import to_numpy
from frostline.elements.algebra import everything, positions
from frostline.elements.sets import Elements
from frostline.errors import ResumeError, listed
from frostline.files.tensor_file import Array
from frostline.model.inventory import Weight
from frostline.optimizers.rebuild import restore_history
from frostline.optimizers.state import SlotHistory, history_of, named_variables
from frostline.resolution.parts import Parts
from frostline.trainability.apply import put_plan_on
from frostline.training.job import Job, Progress
from frostline.training.ledger import Ledger
from frostline.training.random_state import RandomState
from frostline.training.resume.checkpoint import Checkpoint


@dataclass(frozen=True)
class RunState:
    """The model and the optimizer of a job, and what of them a checkpoint holds.

    Attributes:
        job: The job.
    """

    job: Job

    @cached_property
    def moving(self) -> tuple[Weight, ...]:
        """What may change in the run: what trains, moves or is assigned in any phase, and state of layers."""
        inventory = self.job.resolutions[0].inventory
        moves = {
            decision.weight.address for resolution in self.job.resolutions for decision in resolution.changing
        }
        return tuple(w for w in inventory if w.address in moves or w.role in ("seed", "state"))

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
        """Return the values of all that may change, by address.

        A weight is kept as what can change of it: its trained elements, its parts, its base where a
        parametrization comes or goes between phases and is merged into it, or the whole.
        """
        values: dict[str, Array] = {}
        for weight in self.moving:
            elements = self._elements(weight)
            if elements is not None:
                values[f"{weight.address}:elements"] = weight.numpy()[_positions(weight, elements)]
                continue
            if self._merges(weight):
                values[f"{weight.address}:base"] = to_numpy(weight.storage)
            if weight.combination is not None or not self._merges(weight):
                values |= {address: to_numpy(variable) for address, variable in weight.targets}
        return values

    def _restore_values(self, values: Mapping[str, Array]) -> None:
        for weight in self.moving:
            trained = values.get(f"{weight.address}:elements")
            if trained is not None and (elements := self._elements(weight)) is not None:
                whole = weight.numpy().copy()
                whole[_positions(weight, elements)] = trained
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

    def capture(self, progress: Progress) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the state of model, optimizer, schedule and ledger, as JSON has it and as arrays by name."""
        sync_values(self.job.model)
        arrays = {f"model/{address}": value for address, value in self._values().items()}
        variables = named_variables(self.job.model.optimizer)
        arrays |= {f"optimizer/{name}": to_numpy(variable) for name, variable in variables.items()}
        history = history_of(self.job.model.optimizer)
        for address, (slots, _) in history.parked.items():
            arrays |= {f"parked/{address}/{name}": value for name, value in slots.items()}
        parked = {address: [steps, list(slots)] for address, (slots, steps) in history.parked.items()}
        state: dict[str, Any] = {
            "optimizer": {"parked": parked, "joined": dict(history.joined)},
            "ledger": progress.ledger.to_data(),
            "started": progress.started,
            "seconds": progress.seconds,
        }
        if progress.switch is not None:
            state["schedule"], best = progress.switch.to_data()
            arrays |= {f"best/{address}": value for address, value in best.items()}
        return state, arrays

    def restore(self, saved: Checkpoint) -> Progress:
        """Put the state of a checkpoint on model and optimizer, and return schedule and ledger."""
        job, state = self.job, saved.state
        ledger = Ledger.from_data(job.model, state["ledger"], job.resolutions)
        progress = Progress.of(job, ledger, state["started"], state["seconds"])
        number = 0
        if progress.switch is not None:
            progress.switch.go_to(state["schedule"], arrays_under(saved.arrays, "best/"))
            number = progress.switch.number
        put_plan_on(job.model, job.resolutions[number], keep_state=job.keep_state)
        self._restore_values(arrays_under(saved.arrays, "model/"))
        self._restore_optimizer(saved)
        # They may have been traced before `restore_history`, with other groups of weights.
        renew_functions(job.model)
        return progress

    def _restore_optimizer(self, saved: Checkpoint) -> None:
        optimizer, state = self.job.model.optimizer, saved.state["optimizer"]
        variables, values = named_variables(optimizer), arrays_under(saved.arrays, "optimizer/")
        if set(variables) != set(values):
            raise ResumeError(
                f"the optimizer {type(optimizer).__name__} holds other variables than the one in the "
                "checkpoint",
                received=listed(sorted(set(variables) ^ set(values))),
                remedy="compile the model as when the run began, or name another folder for another run",
            )
        for name, variable in variables.items():
            variable.assign(values[name])
        parked = {
            address: ({name: saved.arrays[f"parked/{address}/{name}"] for name in slots}, steps)
            for address, (steps, slots) in state["parked"].items()
        }
        restore_history(optimizer, SlotHistory(parked, state["joined"]))


def _is_by_hand(weight: Weight) -> bool:
    return weight.combination is not None and not weight.combination.by_plan


def _positions(weight: Weight, elements: Elements) -> Any:
    return positions(everything(weight.shape), elements)


def random_states_data(**moments: RandomState) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what a checkpoint holds of the random states at named moments, as JSON has it and as arrays."""
    arrays = {
        f"random/{moment}/{name}": array
        for moment, random_state in moments.items()
        for name, array in random_state.arrays.items()
    }
    return {"random": {moment: dict(one.state) for moment, one in moments.items()}}, arrays


def random_state_in(saved: Checkpoint, moment: str) -> RandomState:
    """Return the random state of a moment in a checkpoint."""
    return RandomState(saved.state["random"][moment], arrays_under(saved.arrays, f"random/{moment}/"))


def arrays_under(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
