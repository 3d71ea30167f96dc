"""What training comes to where only the trained weights exist: each weight with an optimizer of its own.

The loop is written out here: gradients from the model, clipping, accumulation and averaging in NumPy, and for
the rule itself one Keras optimizer per weight, without any of these. That optimizer counts the weight's own
steps and knows nothing of any other weight, so it shows what leaving, joining late, groups and slots may not
change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np

import frostline as fl
from helpers import random_models
from helpers.random_models import BATCH, Optimizer

Values = dict[str, np.ndarray]

DECAYS = ("weight_decay", "adam_weight_decay")
ABOUT_ALL = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "gradient_accumulation_steps",
)
"""Settings that this loop does itself."""


@dataclass
class _Own:
    """What belongs to one weight."""

    rule: _Rule
    steps: int = 0
    average: np.ndarray | None = None
    gathered: list[np.ndarray] = field(default_factory=list)


@dataclass
class Reference:
    """A model trained phase by phase.

    Attributes:
        model: The model; its values are what the training comes to.
        setting: The optimizer.
        keep_state: Whether what belongs to a weight survives phases without it.
        smallest: The smallest gradient of a trained element that was not exactly zero.
    """

    model: keras.Model
    setting: Optimizer
    keep_state: bool = True
    smallest: float = np.inf
    _own: dict[str, _Own] = field(default_factory=dict)
    _micro: int = 0
    _gradients: Any = None

    def train(
        self, plan: fl.Plan, epochs: int, best: int | None, data: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Train a phase; `best` is the epoch of it whose values come back at its end."""
        resolution = fl.apply(self.model, plan).resolution
        self._gradients = gradients_of(self.model)
        trained = {d.weight.address: d for d in resolution.trained}
        if not self.keep_state:
            self._own = {a: own for a, own in self._own.items() if a in trained}
        kept: Values = {}
        for epoch in range(epochs):
            for first in range(0, len(data[0]), BATCH):
                self._step(trained, *(part[first : first + BATCH] for part in data))
            if epoch == best:
                kept = random_models.values(self.model)
        if self.setting.settings.get("use_ema"):
            self._write_averages(trained)
        moving = {d.weight.address for d in resolution.statistics if d.trains}
        for weight in fl.inventory(self.model):
            if weight.address in kept and weight.address in {*trained, *moving}:
                weight.variable.assign(kept[weight.address])

    def _step(self, trained: dict[str, Any], x: np.ndarray, y: np.ndarray) -> None:
        setting = self.setting.settings
        every = setting.get("gradient_accumulation_steps") or 1
        found = self._gradients(x, y, [d.weight.variable for d in trained.values()])
        for (address, decision), gradient in zip(trained.items(), found, strict=True):
            if address not in self._own:
                self._own[address] = _Own(self._alone(decision.weight.variable))
            self._own[address].gathered.append(gradient)
            nonzero = np.abs(gradient[gradient != 0])
            self.smallest = min(self.smallest, float(nonzero.min(initial=np.inf)))
        if (self._micro + 1) % every == 0:
            self._update(trained, every)
        if setting.get("use_ema"):
            self._average(trained, every)
        self._micro += 1

    def _update(self, trained: dict[str, Any], every: int) -> None:
        means = [sum(self._own[a].gathered) / every for a in trained]
        for (address, decision), gradient in zip(trained.items(), self._clipped(means), strict=True):
            own = self._own[address]
            own.gathered = []
            decays = {name: decay * decision.decay for name, decay in own.rule.decays.items()}
            own.rule.apply(gradient, self.setting.settings["learning_rate"] * decision.lr, decays)

    def _clipped(self, found: Sequence[np.ndarray]) -> list[np.ndarray]:
        setting = self.setting.settings
        if (most := setting.get("clipvalue")) is not None:
            return [np.clip(g, -most, most) for g in found]
        if (norm := setting.get("clipnorm")) is not None:
            return [g * min(1.0, norm / max(np.sqrt((g**2).sum()), 1e-30)) for g in found]
        if (norm := setting.get("global_clipnorm")) is not None:
            total = max(np.sqrt(sum((g.astype("float64") ** 2).sum() for g in found)), 1e-30)
            return [g * min(1.0, norm / total) for g in found]
        return list(found)

    def _average(self, trained: dict[str, Any], every: int) -> None:
        setting = self.setting.settings
        for address, decision in trained.items():
            own, value = self._own[address], decision.weight.numpy()
            momentum = setting["ema_momentum"] if own.steps // every and own.average is not None else 0.0
            before = own.average if own.average is not None else value
            own.average = (momentum * before + (1 - momentum) * value).astype("float32")
            own.steps += 1
        frequency = setting.get("ema_overwrite_frequency")
        if frequency and (self._micro // every + 1) % frequency == 0:
            self._write_averages(trained)

    def _write_averages(self, trained: dict[str, Any]) -> None:
        for address, decision in trained.items():
            decision.weight.variable.assign(self._own[address].average)

    def _alone(self, variable: Any) -> _Rule:
        settings = {name: v for name, v in self.setting.settings.items() if name not in ABOUT_ALL}
        return _Rule(getattr(keras.optimizers, self.setting.name)(**settings), variable)


class _Rule:
    """The rule of one optimizer for one weight; compiled on JAX, which is slow step by step."""

    def __init__(self, optimizer: Any, variable: Any) -> None:
        self.optimizer, self._variable = optimizer, variable
        # Some have decays that nobody set.
        found = {name: getattr(optimizer, name, None) for name in DECAYS}
        self.decays = {name: decay for name, decay in found.items() if decay is not None}
        self._compiled: tuple[Any, Any] = (None, None)
        optimizer.build([variable])

    def apply(self, gradient: np.ndarray, rate: float, decays: dict[str, float]) -> None:
        """Make one step."""
        self.optimizer.learning_rate = rate
        for name, value in decays.items():
            setattr(self.optimizer, name, value)
        tensor = keras.ops.convert_to_tensor(gradient.astype("float32"))
        if keras.backend.backend() != "jax":
            self.optimizer.apply([tensor], [self._variable])
            return
        import jax

        if self._compiled[0] != decays:
            self._compiled = decays, jax.jit(lambda *of: self.optimizer.stateless_apply(*of))
        held = [v.value for v in self.optimizer.variables]
        (value,), state = self._compiled[1](held, [tensor], [self._variable.value])
        self._variable.assign(value)
        for variable, value in zip(self.optimizer.variables, state, strict=True):
            variable.assign(value)


def gradients_of(model: keras.Model) -> Callable[..., list[np.ndarray]]:
    """Return what gives gradients of the mean squared error in training mode, under the flags as they are.

    Statistics move as in a training step.
    """
    if keras.backend.backend() != "jax":
        return partial(random_models.gradients, model)
    import jax

    def loss(trained: Any, fixed: Any, x: Any, y: Any) -> tuple[Any, Any]:
        predicted, fixed = model.stateless_call(trained, fixed, x, training=True)
        return keras.ops.mean(keras.ops.square(predicted - y)), fixed

    compiled = jax.jit(jax.grad(loss, has_aux=True))

    def found(x: np.ndarray, y: np.ndarray, variables: list[Any]) -> list[np.ndarray]:
        trained, others = model.trainable_variables, model.non_trainable_variables
        gradients, fixed = compiled([v.value for v in trained], [v.value for v in others], x, y)
        for variable, value in zip(others, fixed, strict=True):
            variable.assign(value)
        of = {id(v): np.array(g) for v, g in zip(trained, gradients, strict=True)}
        return [of[id(v)] for v in variables]

    return found
