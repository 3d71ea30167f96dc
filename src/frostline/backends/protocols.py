"""What each kind of module has to offer, whichever backend it stands for. Knows none of them.

The protocol of `reader` is `frostline.graph.reader.Reader`, beside the records that it speaks in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from frostline.backends.held_state import Holdings
from frostline.backends.variables_in import Found
from frostline.elements.sets import Ids


class TrainStep(Protocol):
    """A module `train_step`: running a training step that somebody wrote by hand without training."""

    OBEYS_FREEZING: bool
    """Whether Keras's training step leaves alone what was frozen after it was first run."""

    CARRIES_LISTED_ONLY: bool
    """Whether it hands on to the next batch only state that is among `model.non_trainable_variables`."""

    def intercept_gradients(self, record: Callable[[Any], None]) -> AbstractContextManager[None]:
        """Hand each loss that gradients are asked of to `record`, and give zeros for its gradients."""

    def is_put_off(self, variable: Any) -> bool:
        """Whether a flag of the backend's own keeps gradients from a variable, whatever Keras's flag says."""

    def put_off(self, variable: Any) -> None:
        """Set that flag so."""

    def arguments(self, model: Any, data: Any) -> tuple[Any, ...]:
        """Return what `train_step` of a model takes."""


class GradientCheck(Protocol):
    """A module `gradient_check`: what makes one loss, computed many times, comparable to rounding."""

    def float64_enabled(self) -> AbstractContextManager[None]:
        """Let the backend compute in float64."""

    def same_randomness(self) -> AbstractContextManager[None]:
        """Draw the same random numbers inside, each time."""

    def operation_by_operation(self) -> AbstractContextManager[None]:
        """Compute without a compiler that makes other operations of those in the program."""


class CompiledSteps(Protocol):
    """What keeps the steps of one training loop from going on under a plan that is no longer in force."""

    stateless: bool
    """Whether loops on this backend call `stateless_apply` of an optimizer."""

    def plan_changed(self) -> None:
        """Let no step that was compiled before this moment update anything."""

    def run(self, update: Callable[[], None]) -> None:
        """Run an update, or put it into the step that is being compiled."""


class CustomLoop(Protocol):
    """A module `custom_loop`: training loops of the user's own."""

    def compiled_steps(self) -> CompiledSteps:
        """Return what guards the steps of one loop."""


class FiniteCheck(Protocol):
    """A module `finite_check`: whether values hold NaN or infinity, found without waiting for the device."""

    def all_finite(self, values: Sequence[Any]) -> Any:
        """Return a boolean on the device; the values are the backend's own, floating, one at least."""

    def read(self, flags: Sequence[Any]) -> list[bool]:
        """Wait for what `all_finite` returned, and return it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """That a model is spread over devices, processes or machines.

    Attributes:
        refuses: The verbs that cannot answer for it: `fit`, `apply`, `verify`, `fingerprint`, and
            `unfreeze` and `schedule` for applying a plan that trains more, and several plans in one run.
        what: What happened, from its verb on: "is wrapped in ...".
        received: What was found.
        remedy: What to do instead.
    """

    refuses: frozenset[str]
    what: str
    received: str
    remedy: str


class Machines(Protocol):
    """A module `machines`: how a model is spread over devices, processes and machines."""

    def spread(self, model: Any) -> Iterable[Spread]:
        """Return what of that Frostline cannot answer for."""


class RowLookup(Protocol):
    """A module `row_lookup`: looking up rows of a table of which a part trains."""

    def joined(self, ids: Any, frozen: Any, part: Any, trained: Ids) -> Any:
        """Return the rows `ids` of a table, in which those at `trained` are the rows of `part`."""


class Modules(Protocol):
    """A module `modules`: models of the backend's own, which Keras does not know."""

    def variables_in(self, holder: Any) -> Found | None:
        """Return what one holds to be asked about; None for anything else."""


class LayerHoldings(Protocol):
    """A module `holdings`: what a layer holds beside its Keras variables."""

    def of_layer(self, layer: Any) -> Holdings:
        """Return it."""

    def keep(self, layer: Any) -> Callable[[], None]:
        """Return a function that puts back all of it, as it is now; also what is there as a number."""
