"""FL113: a classifier that begins far worse than guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from frostline._keras.layers import last_activations
from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.targets import PROBABILITIES, Target
from frostline.diagnostics.thresholds import FAR_OFF, FEWEST_SAMPLES


class StartFarOff(AuditRule):
    """Start far worse than guessing.

    What it does:
        Compares the loss of a classifier on this batch with that of guessing, the logarithm of the number of
        classes. Ten times as much is found, or half of what chances can give, which Keras clips: the model is
        sure of what is wrong, for most samples. Not reported of models with BatchNormalization, since deep
        ones begin so (Yang and others, 2019, arXiv:1902.08129), nor of fewer than eight samples.

    Why it matters:
        The first steps only bring the outputs back to a sound size, and leave units dead or saturated behind
        them. It comes from initial weights that are too large, or from inputs that are.

    Example:
        start = keras.initializers.RandomNormal(stddev=1.0)
        keras.layers.Dense(64, activation="relu", kernel_initializer=start)

    Use instead:
        keras.layers.Dense(64, activation="relu", kernel_initializer="he_normal")
    """

    code, name, severity = "FL113", "start-far-off", "warning"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for the model."""
        measured = inspection.measured
        if measured is None or not measured.is_finite or len(inspection.targets) != 1:
            return
        target = inspection.targets[0]
        if len(target.values) < FEWEST_SAMPLES or inspection.normalizes_batches:
            return
        guessing = _loss_of_guessing(inspection, target)
        if guessing is None or measured.loss < _far_off(target, guessing):
            return
        yield self.finding(
            "",
            f"the loss is {measured.loss:.3g} before the first step, that of guessing {guessing:.3g}: the "
            "outputs are too large, and sure of what is wrong",
            "use an initializer that suits the activation (fl.recommended_initializer) and inputs of size "
            "about 1, or begin the last layer with small weights; of a trained model: look for labels in "
            "another order, and for preprocessing that was left out",
        )

    def failing(self) -> dict[str, Any]:
        """Kernels of deviation 1."""
        return _classifier(1.0)

    def passing(self) -> dict[str, Any]:
        """Kernels that suit their inputs."""
        return _classifier(0.1)


def _loss_of_guessing(inspection: Inspection, target: Target) -> float | None:
    """Return the loss of even chances; None for a loss that is not an average of such."""
    loss = target.loss
    if target.kind not in PROBABILITIES or inspection.loss.sample_weight is not None:
        return None
    if getattr(loss, "reduction", "sum_over_batch_size") == "sum":
        return None
    ends = last_activations(inspection.model)
    if not target.settings.get("from_logits", False) and (len(ends) != 1 or ends[0][:1] not in _CHANCES):
        return None  # an output that is not chances is FL108's
    return target.loss_of_guessing


_CHANCES = (["softmax"], ["sigmoid"])


def _far_off(target: Target, guessing: float) -> float:
    """Return the loss from which on a start is far off. Keras clips chances, and so what they can give."""
    if target.settings.get("from_logits", False):
        return FAR_OFF * guessing
    largest = -math.log(keras.config.epsilon())
    return min(FAR_OFF * guessing, (guessing + largest) / 2)


def _classifier(deviation: float) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    start = keras.initializers.RandomNormal(stddev=deviation, seed=0)
    body = [keras.layers.Dense(64, "relu", kernel_initializer=start, name=f"hidden_{n}") for n in range(2)]
    head = keras.layers.Dense(3, kernel_initializer=start, name="head")
    model = keras.Sequential([keras.Input((32,)), *body, head])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).uniform(size=(12, 32)).astype("float32")
    return {"model": model, "x": x, "y": np.arange(12) % 3}
