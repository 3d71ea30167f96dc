"""FL605: a weight gets a gradient, and the training step does nothing with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.thresholds import LEAST_UPDATE
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules._programs import regression, two_layers
from frostline.diagnostics.training_rules._set_back import set_back
from frostline.diagnostics.watched import Watched


class GradientNotApplied(TrainingRule):
    """A gradient is computed and not applied.

    What it does:
        Finds a weight that is to train, that gets a gradient from the loss, and of which not one bit moved
        over an epoch of steps, though a step of the optimizer would have moved it; and one that steps move
        and that something sets back to its very bits, before the next step or at the end of each epoch.

    Why it matters:
        The training step drops it: one of your own that leaves out a gradient, an optimizer that was built
        for other variables, a weight that something sets back after each step.

    Example:
        optimizer.apply(gradients[:2], self.trainable_variables[:2])

    Use instead:
        optimizer.apply(gradients, self.trainable_variables)
    """

    code, name, severity = "FL605", "gradient-not-applied", "warning"

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield one finding for each weight."""
        last = watched.last
        seen = dict(set_back(watched))
        for address, fact in seen.items():
            yield self.finding(address, fact, _SET_BACK)
        for address in not_applied(watched):
            if address in seen:
                continue
            assert last is not None and last.look is not None
            yield self.finding(
                address,
                f"not one bit of it moved in {last.when}, though the loss gives it a gradient of norm "
                f"{last.look.gradients[address]:.3g}, which a step would move it by "
                f"{last.look.steps[address]:.2g} for (root mean square); other batches may give it none",
                "apply every gradient in train_step, compile with an optimizer of the model's own, and see "
                "that no constraint or callback sets the weight back",
            )

    def failing(self) -> Program:
        """A constraint sets the kernel back after each step."""
        model = two_layers("tanh")
        kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
        model.layers[0].kernel.constraint = _SetBack(kernel)
        return regression(model, keras.optimizers.SGD(0.05))

    def passing(self) -> Program:
        """There is none."""
        return regression(two_layers("tanh"), keras.optimizers.SGD(0.05))


_SET_BACK = (
    "take out what assigns to it between the steps (a callback's on_train_batch_end, an epoch's end), or "
    "leave the weight out of the plan; where nothing does, its steps cancel out: lower the learning rate"
)


class _SetBack(keras.constraints.Constraint):  # type: ignore[misc]  # Keras ships no types
    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self, weight: Any) -> Any:
        return keras.ops.convert_to_tensor(self._value) + 0 * weight


def not_applied(watched: Watched) -> Iterator[str]:
    """Yield the addresses of weights whose gradient the last interval did nothing with."""
    yield from dict(set_back(watched))
    last = watched.last
    if last is None or last.look is None or last.steps_are_idle:
        return
    for address, move in last.moves.items():
        least = LEAST_UPDATE * (move.size or 1.0)
        step = last.look.steps.get(address, 0.0)
        if move.stood_still and step >= least:
            yield address
