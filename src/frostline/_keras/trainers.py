"""Compiled functions and the values that a training holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from frostline._keras.methods import patched, replace_method, restore_method
from frostline._keras.optimizers import compiled_optimizer, optimizer_chain, optimizer_counters

_FUNCTIONS = ("train_function", "test_function", "predict_function")


def renew_functions(model: Any) -> None:
    """Throw away the compiled training, test and prediction functions, as `compile` does.

    Those that existed are made anew at once, since `fit` makes them only before its loop and a callback may
    be what calls this. They are traced or compiled when they first run.
    """
    if hasattr(model, "_compiled_trainable_state"):
        # Else a Keras that warns of flags changed since `compile` would warn of ours.
        model._compiled_trainable_state = {layer: layer.trainable for layer in model._flatten_layers()}
    for name in _FUNCTIONS:
        if getattr(model, name, None) is not None:
            setattr(model, name, None)
            getattr(model, f"make_{name}")(force=True)


def compile_arguments(model: Any) -> dict[str, Any]:
    """Return what a model was compiled with, as it was given; nothing where `compile` is its class's own."""
    kept = getattr(model, "_compile_config", None)
    return dict(getattr(kept, "config", {}))


def training_done(model: Any) -> tuple[Any, int] | None:
    """Return the training function and the count of steps made with it; None where there is none."""
    function, optimizer = getattr(model, "train_function", None), compiled_optimizer(model)
    if function is None or optimizer is None or not optimizer.built:
        return None
    return _unwatched(function), int(
        keras.ops.convert_to_numpy(optimizer_counters(optimizer_chain(optimizer)[-1])[0])
    )


@contextmanager
def steps_watched(
    model: Any,
    begin: Callable[[], Callable[[Any], None]] | None = None,
    *,
    before: Callable[[Any], None] | None = None,
) -> Iterator[None]:
    """Look at each batch before the training function gets it, and at what it returned, inside the block.

    Every training function is watched that `fit` finds or makes there; afterwards the model has it plain.

    Args:
        model: The model.
        begin: Called for each training function; returns what gets the logs after each step, on JAX a pair of
            logs and state. It must not wait for the device.
        before: Gets each batch, as `unpack_x_y_sample_weight` takes it, in front of its step; what it raises
            ends the training. On TensorFlow, whose steps take batches inside a graph, it gets none.
    """

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def make_train_function(*arguments: Any, **named: Any) -> Any:
            made = original(*arguments, **named)
            plain = _unwatched(model.train_function)
            model.train_function = _watched(plain, begin() if begin is not None else None, before)
            return made

        return make_train_function

    replace_method(model, "make_train_function", make, by=_WATCHING)
    try:
        yield
    finally:
        restore_method(model, "make_train_function", by=_WATCHING)
        model.train_function = _unwatched(model.train_function)


_WATCHING = "watched steps"


def _watched(
    function: Callable[..., Any], look: Callable[[Any], None] | None, before: Callable[[Any], None] | None
) -> Callable[..., Any]:
    def step(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            *others, batches = arguments
            arguments = (*others, _seen_before(batches, before))
        result = function(*arguments, **named)
        if look is not None:
            look(result)
        return result

    step.frostline_unwatched = function  # type: ignore[attr-defined]
    return step


def _seen_before(batches: Any, before: Callable[[Any], None]) -> Any:
    """Return the batches of one step, each looked at before it is taken: a list, or what yields them."""
    if isinstance(batches, list):
        for batch in batches:
            before(batch)
        return batches
    if keras.backend.backend() == "tensorflow" or not hasattr(batches, "__next__"):
        return batches

    def looked_at() -> Iterator[Any]:
        for batch in batches:
            before(batch)
            yield batch

    return looked_at()


def _unwatched(function: Any) -> Any:
    return getattr(function, "frostline_unwatched", function)


def reader_of_steps(model: Any, variables: Iterable[Any]) -> Callable[[Any], list[Any] | None]:
    """Return what reads the backend's values of some variables after a step, without waiting for them.

    Args:
        model: The model.
        variables: Variables of the model or its optimizer that the training function may change.

    Returns:
        A function of what the training function returned, since on JAX the variables are empty meanwhile. It
        returns None where that function is one of the user's own that returns something else.
    """
    chosen = list(variables)
    if keras.backend.backend() != "jax":
        return lambda result: [variable.value for variable in chosen]
    groups = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    lengths = [len(group) for group in groups]
    at = {id(v): (number, place) for number, group in enumerate(groups) for place, v in enumerate(group)}
    places = [at[id(variable)] for variable in chosen if id(variable) in at]

    def read(result: Any) -> list[Any] | None:
        state = result[1] if isinstance(result, tuple) and len(result) == 2 else ()
        if [len(group) for group in state[:3]] != lengths:
            return None
        return [state[number][place] for number, place in places]

    return read


@contextmanager
def epochs_gone_by(count: int) -> Iterator[None]:
    """Let the next `fit` shuffle arrays as if it had trained on them for some epochs.

    From Keras 3.16 on the order of an epoch comes from a count of the data's own, which begins anew with each
    `fit`, whatever its `initial_epoch` and the seed. Before, nothing counts, and nothing happens here.
    """
    from keras.src.trainers import epoch_iterator
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    reset = epoch_iterator.EpochIterator.reset
    gone = False

    def reset_once(iterator: Any) -> None:
        nonlocal gone
        reset(iterator)
        if not gone and isinstance(iterator.data_adapter, ArrayDataAdapter):
            for _ in range(count):
                iterator.data_adapter.on_epoch_end()
        gone = True  # `fit` begins with this; what comes later is for validation

    with patched(epoch_iterator.EpochIterator, reset=reset_once):
        yield


def sync_values(model: Any) -> None:
    """Bring the values that a running `fit` holds outside the variables back into them (JAX only)."""
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()


@contextmanager
def values_kept(model: Any) -> Iterator[None]:
    """Put the values of variables back that a failing `fit` left empty (JAX only).

    `fit` empties every variable before its first step, to save memory, and loses them where that step cannot
    be traced. The arrays are still there for whoever holds them; holding them costs nothing, since a step
    that does run takes them over.
    """
    optimizer = compiled_optimizer(model)
    variables = [
        *model.variables,
        *model.metrics_variables,
        *(optimizer.variables if optimizer else ()),
    ]
    values = [(variable, getattr(variable, "_value", None)) for variable in variables]
    try:
        yield
    except BaseException:
        for variable, value in values:
            emptied = getattr(variable, "_value", value) is None
            if emptied and value is not None and not value.is_deleted():
                variable._value = value
        raise


def own_buffers(model: Any, optimizer: Any = None) -> None:
    """Give every variable a buffer of its own: those of a model and of its optimizer, or of another one.

    After averaging (EMA) on JAX a weight and its average share one, and the next training step, which
    donates both, fails.
    """
    optimizer = optimizer if optimizer is not None else compiled_optimizer(model)
    seen: set[int] = set()
    for variable in (*model.variables, *(optimizer.variables if optimizer is not None else ())):
        buffer = id(variable.value)
        if buffer in seen:
            variable.assign(keras.ops.copy(variable))
        seen.add(buffer)


def finish_averages(model: Any) -> None:
    """Give trained weights the values that averaging (EMA) ends with, as `fit` does at its end."""
    optimizer = model.optimizer
    if optimizer.built and getattr(optimizer_chain(optimizer)[-1], "use_ema", False):
        optimizer.finalize_variable_values(model.trainable_variables)
        own_buffers(model)
