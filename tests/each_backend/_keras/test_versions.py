"""Every private name of Keras that Frostline relies on is there and means what it meant.

Here are the versions, and what is said of one that lacks a name; what the names mean stands in
`test_layers`, `test_variables`, `test_calls`, `test_trainers` and `test_optimizers`.

When a new version of Keras fails here, mend the package `frostline/_keras`, and add the version to
`TRIED_ON`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from frostline import _keras
from frostline._keras.layers import (
    layer_flag,
    own_statistics,
    own_weights,
    seed_generators,
    set_layer_flag,
    sublayers,
)
from frostline._keras.methods import TRIED_ON, replace_method
from frostline._keras.optimizers import (
    optimizer_counters,
    optimizer_own_variables,
    optimizer_targets,
    steps_counted_from,
    variable_key,
)
from frostline.errors import UnsupportedKerasError

pytestmark = pytest.mark.every_backend


def test_the_installed_keras_is_one_that_was_tried() -> None:
    assert keras.__version__ in TRIED_ON


def test_every_function_has_its_test() -> None:
    modules = [
        importlib.import_module(f"{_keras.__name__}.{m.name}") for m in pkgutil.iter_modules(_keras.__path__)
    ]
    functions = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    files = Path(__file__).parent.glob("test_*.py")
    tested = "".join(path.read_text(encoding="utf-8") for path in files)
    assert {name for name in functions if f"{name}(" not in tested} == set()


# A version that lacks a name ----------------------------------------------------------------------


class Bare:
    """Has none of the names."""


FUNCTIONS = {
    "_layers": sublayers,
    "_trainable_variables": own_weights,
    "_non_trainable_variables": own_statistics,
    "_seed_generators": seed_generators,
    "_trainable": layer_flag,
    "_var_key": variable_key,
    "_variables": optimizer_own_variables,
    "_iterations": optimizer_counters,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_missing_name_is_named_with_the_version(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(keras, "__version__", "9.9.9")
    with pytest.raises(UnsupportedKerasError) as caught:
        FUNCTIONS[name](Bare())
    assert str(caught.value) == (
        f"Bare has no attribute {name!r}.\n"
        "  received: Keras 9.9.9\n"
        f"  expected: a version Frostline was tried on: {', '.join(TRIED_ON)}\n"
        "  fix:      pip install 'keras==3.15.1'"
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: set_layer_flag(Bare(), True),
        lambda: optimizer_targets(Bare()),
        lambda: replace_method(Bare(), "_backend_update_step", lambda method: method),
        lambda: steps_counted_from(Bare(), 1).__enter__(),
    ],
    ids=["set_layer_flag", "optimizer_targets", "replace_method", "steps_counted_from"],
)
def test_a_missing_name_is_named_by_the_others_too(call: Callable[[], Any]) -> None:
    with pytest.raises(
        UnsupportedKerasError, match=r"^Bare has no attribute '_\w+'\.\n  received: Keras 3\."
    ):
        call()
