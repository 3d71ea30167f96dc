"""What tests of deltas train and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import optimizers

import frostline as fl
from helpers.checks import changed, frostline_fit, values
from helpers.small_models import (
    compiled,
    two_dense,
)

PLAN = fl.Plan().train("b/**")


def trained(plan: fl.Plan = PLAN, make: Any = two_dense) -> tuple[keras.Model, fl.Run]:
    model = compiled(make(), optimizers.Adam(0.05))
    return model, frostline_fit(model, plan)


def same_bits(one: keras.Model, two: keras.Model) -> bool:
    return not changed(one, values(two))


def with_rows(rows: Any, path: Path, by: float) -> fl.Delta:
    model = two_dense()
    fl.parametrize(model, "a/kernel", fl.Rows(rows))
    (part,) = (v for v in model.trainable_variables if v.name == "kernel_rows")
    before = fl.fingerprint(model)
    part.assign(part + by)
    return fl.save_delta(model, path, base=before)


def refused(model: keras.Model, path: Path, **arguments: Any) -> str:
    """The message; the model is as before."""
    before, present = fl.fingerprint(model), fl.deltas(model)
    with pytest.raises(fl.FrostlineError) as failed:
        fl.load_delta(model, path, **arguments)
    assert fl.fingerprint(model) == before
    assert fl.deltas(model) == present
    return str(failed.value).replace(str(path), path.name)
