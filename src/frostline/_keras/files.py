"""Configurations and saved files."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from keras.src.saving import serialization_lib

from frostline._keras.methods import patched, private
from frostline._keras.optimizers import compiled_optimizer, optimizer_chain


def config_of(model: Any) -> dict[str, Any]:
    """Return what a `.keras` file would say of a model, without that of `compile`."""
    with warnings.catch_warnings(), private(serialization_lib, "ObjectSharingScope")():
        # Lambdas are unsafe in files of others; this one goes nowhere.
        warnings.filterwarnings("ignore", message=".*lambda", category=UserWarning)
        config: dict[str, Any] = serialization_lib.serialize_keras_object(model)
    _drop(config, "compile_config")
    return config


def made_of_config(config: dict[str, Any], custom: dict[str, Any]) -> Any:
    """Return the model that `config_of` describes, built, with fresh values.

    Args:
        config: As `config_of` returned it; it is used up.
        custom: Classes by name, for those that are not registered.
    """
    with private(serialization_lib, "ObjectSharingScope")():
        return serialization_lib.deserialize_keras_object(config, custom_objects=custom, safe_mode=False)


def _drop(config: Any, key: str) -> None:
    inner: Iterable[Any] = ()
    if isinstance(config, dict):
        config.pop(key, None)
        inner = config.values()
    elif isinstance(config, list | tuple):
        inner = config
    for one in inner:
        _drop(one, key)


@contextmanager
def in_safe_mode(on: bool) -> Iterator[None]:
    """Refuse Python code in what Keras reads inside the block, or, if the user trusts it, do not."""
    with private(serialization_lib, "SafeModeScope")(on):
        yield


@contextmanager
def saved_compiled_as(model: Any, config: Mapping[str, Any]) -> Iterator[None]:
    """Let `model.save` write these compile settings; with none, it leaves out the optimizer's state too."""
    optimizer = compiled_optimizer(model)
    without_state = optimizer_chain(optimizer) if optimizer is not None and not config else []
    with ExitStack() as patches:
        patches.enter_context(patched(model, get_compile_config=lambda: dict(config)))
        for part in without_state:
            patches.enter_context(patched(part, save_own_variables=lambda store: None))
        yield
