"""What the tests of `fl.audit` and `fl.why` share: questions about a small model, on the data that fits it.

Import as `from helpers.audit_checks import audited`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

import frostline as fl
from helpers.small_models import INPUTS, SEED, compiled, data_for


def audited(model: keras.Model, **arguments: Any) -> fl.Audit:
    """`fl.audit` of a model of `small_models`."""
    return fl.audit(model, *data_for(model), **arguments)


def asked(model: keras.Model, weight: Any, **arguments: Any) -> fl.Explanation:
    """`fl.why` of a weight of such a model."""
    return fl.why(model, weight, *data_for(model), **arguments)


def built(model: keras.Model) -> keras.Model:
    """`model`, built with seeded weights and compiled."""
    keras.utils.set_random_seed(SEED)
    model.build((None, INPUTS))
    return compiled(model)


def rounded(y: Any, predicted: Any) -> Any:
    """A loss that lets no gradient back: `round` has no derivative."""
    return ops.mean((y - ops.round(predicted)) ** 2)
