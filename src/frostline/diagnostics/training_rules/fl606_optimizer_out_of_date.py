"""FL606: while training, the optimizer holds other variables than the model trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from frostline.diagnostics.finding import Finding
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules._programs import regression, two_layers
from frostline.diagnostics.watched import Watched
from frostline.errors import listed


class OptimizerOutOfDate(TrainingRule):
    """The optimizer is out of date.

    What it does:
        Finds, at the end of an epoch, variables of the optimizer that are not the model's any more, and
        weights that are to train, did not move, and are not among its variables.

    Why it matters:
        A layer was replaced, or unfrozen, after the optimizer was built. It goes on with the slots of what is
        gone, or trains what nobody uses.

    Example:
        model.get_layer("features").trainable = True  # in a callback, between two epochs

    Use instead:
        fl.fit(model, fl.Schedule(...), x, y)  # a phase puts its plan on the model and the optimizer
    """

    code, name, severity = "FL606", "optimizer-out-of-date", "error"

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield one finding for what is too much, and one for what is missing."""
        last = watched.last
        if last is None:
            return
        remedy = "compile with a new optimizer after changing the model, or train with fl.fit and a plan"
        if last.strangers:
            fact = f"the optimizer holds what is not the model's: {listed(last.strangers, most=4)}"
            yield self.finding("", f"{fact} ({last.when})", remedy)
        missing = [a for a in last.lacking if a in last.moves and last.moves[a].stood_still]
        if missing:
            fact = f"the optimizer does not hold {listed(missing, most=4)}, and nothing moved in {last.when}"
            yield self.finding(missing[0], fact, remedy)

    def failing(self) -> Program:
        """A callback gives the model the optimizer of another one."""
        model, other = two_layers("tanh"), two_layers("tanh")
        stale = keras.optimizers.SGD(0.05)
        stale.build(other.trainable_variables)

        def exchange(epoch: int, logs: Any) -> None:
            model.optimizer = stale

        program = regression(model, keras.optimizers.SGD(0.05), epochs=1)
        program.arguments["callbacks"] = [keras.callbacks.LambdaCallback(on_epoch_end=exchange)]
        return program

    def passing(self) -> Program:
        """It keeps its own."""
        return regression(two_layers("tanh"), keras.optimizers.SGD(0.05), epochs=1)
