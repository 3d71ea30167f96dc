"""The model of a run: loaded, and compiled as the config says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from frostline.errors import listed
from frostline.model.loading import load_named_model
from frostline.model.user_code import called, find_function, names_function
from frostline.render.tables import count
from frostline.runs.config import RunConfig
from frostline.runs.keras_objects import Kind, make


def build_model(config: RunConfig) -> Any:
    """Load the model of a run and compile it. New weights are drawn by the run's seed.

    Raises:
        FrostlineError: There is no such model, optimizer, loss or metric; says what comes near.
    """
    import keras

    data = config.data
    compiling = _compile_arguments(config)
    keras.utils.set_random_seed(data.seed)
    loading = partial(
        load_named_model,
        config.model,
        backend=data.backend,
        imports=data.imports,
        safe_mode=not data.unsafe,
        folder=config.folder,
        compiled=data.compile is None,
    )
    model = config.document.made(loading, ("model",)) if names_function(config.model) else loading()
    if compiling:
        model.compile(**compiling)
    elif not getattr(model, "compiled", False):
        raise config.document.error(
            (),
            "the key 'compile' is missing, and the model has no optimizer and loss of its own",
            remedy="add compile: {optimizer: adam, loss: mse}",
        )
    return model


def build_callbacks(config: RunConfig) -> list[Any]:
    """Make the callbacks that a config asks for, Keras's and the user's.

    Raises:
        RunConfigError: One of the functions returns no callback.
    """
    import keras

    data, made = config.data, []
    if (stop := data.stop_early) is not None:
        made.append(
            keras.callbacks.EarlyStopping(
                monitor=stop.monitor,
                patience=stop.patience,
                min_delta=stop.min_delta,
                mode=stop.mode,
                restore_best_weights=stop.restore_best,
            )
        )
    if (reduce := data.reduce_lr) is not None:
        made.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=reduce.monitor,
                factor=reduce.factor,
                patience=reduce.patience,
                min_delta=reduce.min_delta,
                mode=reduce.mode,
                min_lr=reduce.min_lr,
            )
        )
    for number, name in enumerate(data.callbacks):
        found = config.document.made(partial(_made_by, name, config.folder), ("callbacks", number))
        if not isinstance(found, keras.callbacks.Callback):
            raise config.document.error(
                ("callbacks", number),
                f"{name} did not return a Keras callback",
                received=f"an object of type {type(found).__name__}",
            )
        made.append(found)
    return made


def _made_by(name: str, folder: Path) -> Any:
    return called(find_function(name, folder, wanted="module:function"), name)


def _loss_weights(config: RunConfig, given: Any, loss: Any) -> Any:
    """Return one number for each loss, of the same form; Keras finds out within the first step if not."""
    import keras

    if isinstance(loss, list):
        alike, expected = (
            isinstance(given, list) and len(given) == len(loss),
            f"a list of {count(len(loss), 'number')}",
        )
        values = given
    elif _by_output(loss):
        alike, expected = isinstance(given, dict) and set(given) == set(loss), f"a number for {listed(loss)}"
        values = given.values() if alike else ()
    else:
        alike, expected, values = True, "one number, as there is one loss", (given,)
    if not alike or not all(type(value) in (int, float) for value in values):
        raise config.document.error(
            ("compile", "loss_weights"),
            "the loss_weights do not fit the loss",
            received=repr(given),
            expected=expected,
        )
    # Keras takes no whole number for the weight of a single loss.
    return keras.tree.map_structure(float, given)


def _compile_arguments(config: RunConfig) -> dict[str, Any]:
    given = config.data.compile
    if given is None:
        return {}
    arguments = {
        "optimizer": _made(config, "optimizer", given.optimizer, "optimizer"),
        "loss": _several(config, "loss", given.loss, "loss"),
        "jit_compile": given.jit_compile,
        "steps_per_execution": given.steps_per_execution,
    }
    if given.metrics is not None:
        arguments["metrics"] = _several(config, "metric", given.metrics, "metrics")
    if given.loss_weights is not None:
        arguments["loss_weights"] = _loss_weights(config, given.loss_weights, given.loss)
    return arguments


def _several(config: RunConfig, kind: Kind, given: Any, *at: int | str) -> Any:
    """Make what stands alone, in a list, or in a mapping by output."""
    if given is None:
        return None
    if isinstance(given, list):
        return [_several(config, kind, one, *at, number) for number, one in enumerate(given)]
    if _by_output(given):
        return {name: _several(config, kind, one, *at, name) for name, one in given.items()}
    return _made(config, kind, given, *at)


def _by_output(given: Any) -> bool:
    return isinstance(given, dict) and not {"name", "class_name"} & set(given)


def _made(config: RunConfig, kind: Kind, given: Any, *at: int | str) -> Any:
    return config.document.made(lambda: make(kind, given, config.folder), ("compile", *at))
