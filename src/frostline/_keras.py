"""Every private name of Keras that Frostline relies on, one small function each.

Tried on Keras 3.15.1; `tests/backends/test_keras_private.py` names the versions and fails when a name goes
away. Nothing else in Frostline may touch an attribute of Keras that begins with an underscore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from frostline.errors import UnsupportedKerasError

TRIED_ON = ("3.15.1",)


def _private(owner: Any, name: str) -> Any:
    """Return a private attribute, or say which version of Keras lacks it."""
    try:
        return getattr(owner, name)
    except AttributeError:
        import keras

        raise UnsupportedKerasError(
            f"{type(owner).__name__} has no attribute {name!r}",
            received=f"Keras {keras.__version__}",
            expected=f"a version Frostline was tried on: {', '.join(TRIED_ON)}",
            remedy=f"pip install 'keras=={TRIED_ON[-1]}'",
        ) from None


# Layers -----------------------------------------------------------------------------------------


def sublayers(layer: Any) -> list[Any]:
    """Return the layers that `layer` tracks directly, in the order of its attributes."""
    seen: set[int] = set()
    unique = []
    for sublayer in _private(layer, "_layers"):
        if id(sublayer) not in seen:
            seen.add(id(sublayer))
            unique.append(sublayer)
    return unique


def own_weights(layer: Any) -> list[Any]:
    """Return the variables that `layer` itself created as trainable.

    A later `trainable = False` does not take a variable out of this list, so it tells a frozen weight from
    a statistic, which was never meant to train.
    """
    return list(_private(layer, "_trainable_variables"))


def own_statistics(layer: Any) -> list[Any]:
    """Return the variables that `layer` itself created as not trainable (moving means and the like)."""
    return list(_private(layer, "_non_trainable_variables"))


def seed_generators(layer: Any) -> list[Any]:
    """Return the random seed generators that `layer` itself holds."""
    return list(_private(layer, "_seed_generators"))


def layer_flag(layer: Any) -> bool:
    """Return the `trainable` flag of this layer alone."""
    return bool(_private(layer, "_trainable"))


def set_layer_flag(layer: Any, value: bool) -> None:
    """Set the `trainable` flag of this layer alone: the public setter overwrites everything below it."""
    _private(layer, "_trainable")
    layer._trainable = value


_NOTE = "_frostline_applied"


def note(model: Any, record: Any) -> None:
    """Keep a record on a model; its configuration, its copies and its files do not know of it."""
    object.__setattr__(model, _NOTE, record)


def noted(model: Any) -> Any:
    """Return what `note` last kept on a model, or None."""
    return vars(model).get(_NOTE)


def producers(model: Any) -> dict[int, list[int]]:
    """Return, for each operation of a Functional or Sequential model, the operations that feed it.

    Operations are told by `id`. A model that is not a graph of operations gives an empty mapping.
    """
    graph = getattr(model, "_functional", None) or model
    feeds: dict[int, list[int]] = {}
    for nodes in getattr(graph, "_nodes_by_depth", {}).values():
        for node in nodes:
            sources = [id(parent.operation) for parent in node.parent_nodes]
            feeds.setdefault(id(node.operation), []).extend(sources)
    return feeds


def entry_layer() -> Any:
    """Return the outermost layer that is being called right now, or None."""
    from keras.src.backend.common import global_state

    context = global_state.get_global_attribute("current_call_ctx")
    return getattr(context, "entry_layer", None)


@contextmanager
def training_kept_from_callers() -> Iterator[None]:
    """Keep a `training` argument given inside from reaching layers that are called afterwards.

    Keras notes the latest such argument for the whole outermost call, and layers that are given none take it.
    """
    from keras.src.backend.common import global_state

    context = global_state.get_global_attribute("current_call_ctx")
    before = context.get_value("training") if context is not None else None
    try:
        yield
    finally:
        if context is not None:
            context.set_value("training", before)


def glimpse(variable: Any) -> Any:
    """Return the value of a variable as an array, uncopied where the backend allows; to be read at once.

    Keras's own conversion copies, which took as long as hashing what it copied.
    """
    import keras

    value = variable.value
    value = value.detach() if hasattr(value, "detach") else value
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError):  # bfloat16 or another device, on PyTorch
        return np.asarray(keras.ops.convert_to_numpy(variable))


# Trainers ---------------------------------------------------------------------------------------

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


def training_done(model: Any) -> tuple[Any, int] | None:
    """Return the training function and the count of steps made with it; None where there is none."""
    function, optimizer = getattr(model, "train_function", None), getattr(model, "optimizer", None)
    if function is None or optimizer is None or not optimizer.built:
        return None
    import keras

    return function, int(keras.ops.convert_to_numpy(optimizer_counters(optimizer_chain(optimizer)[-1])[0]))


def settle(model: Any) -> None:
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
    optimizer = getattr(model, "optimizer", None)
    variables = [
        *model.variables,
        *model.metrics_variables,
        *(optimizer.variables if optimizer else ()),
    ]
    held = [(variable, getattr(variable, "_value", None)) for variable in variables]
    try:
        yield
    except BaseException:
        for variable, value in held:
            emptied = getattr(variable, "_value", value) is None
            if emptied and value is not None and not value.is_deleted():
                variable._value = value
        raise


def unshare(model: Any, optimizer: Any = None) -> None:
    """Give every variable a buffer of its own: those of a model and of its optimizer, or of another one.

    After averaging (EMA) on JAX a weight and its average share one, and the next training step, which
    donates both, fails.
    """
    optimizer = optimizer if optimizer is not None else getattr(model, "optimizer", None)
    seen: set[int] = set()
    for variable in (*model.variables, *(optimizer.variables if optimizer is not None else ())):
        buffer = id(variable.value)
        if buffer in seen:
            import keras

            variable.assign(keras.ops.copy(variable))
        seen.add(buffer)


# Optimizers -------------------------------------------------------------------------------------


def optimizer_chain(optimizer: Any) -> list[Any]:
    """Return the optimizer and the ones it wraps (`LossScaleOptimizer`), outermost first."""
    chain = [optimizer]
    while (inner := getattr(chain[-1], "inner_optimizer", None)) is not None:
        chain.append(inner)
    return chain


def variable_key(optimizer: Any) -> Callable[[Any], Any]:
    """Return the function by which an optimizer tells variables apart, native ones included."""
    key: Callable[[Any], Any] = _private(optimizer, "_var_key")
    return key


def optimizer_targets(optimizer: Any) -> list[Any]:
    """Return the variables that a built optimizer updates, in its own order."""
    return list(_private(optimizer, "_trainable_variables"))


def optimizer_own_variables(optimizer: Any) -> list[Any]:
    """Return the variables an optimizer holds itself: counters, the learning rate, slots."""
    return list(_private(optimizer, "_variables"))


def optimizer_counters(optimizer: Any) -> list[Any]:
    """Return the step counter and, where it is one, the learning-rate variable."""
    counter = _private(optimizer, "_iterations")
    rate = _private(optimizer, "_learning_rate")
    return [v for v in (counter, rate) if any(v is own for own in optimizer_own_variables(optimizer))]


def unbuild_optimizer(optimizer: Any) -> None:
    """Take an optimizer back to the state before `build`, keeping its counters and its settings."""
    counters = optimizer_counters(optimizer)
    untrack = _private(optimizer, "_untrack_variable")
    for variable in optimizer_own_variables(optimizer):
        if not any(variable is counter for counter in counters):
            untrack(variable)
    optimizer._trainable_variables = []
    optimizer._trainable_variables_indices = {}
    optimizer.built = False


@contextmanager
def steps_counted_from(optimizer: Any, joined: int) -> Iterator[None]:
    """Let the optimizer's step counter read `joined` steps less, as for weights that joined then."""
    if joined == 0:
        yield
        return
    counter = _private(optimizer, "_iterations")
    # `object.__setattr__` keeps the tracker of Keras from seeing the stand-in.
    object.__setattr__(optimizer, "_iterations", counter - joined)
    try:
        yield
    finally:
        object.__setattr__(optimizer, "_iterations", counter)


def replace_method(owner: Any, name: str, make: Callable[[Callable[..., Any]], Any]) -> None:
    """Put `make(original)` in the place of a method of this one object.

    The object's configuration, class and files do not know of it. `restore_method` undoes it.
    """
    restore_method(owner, name)
    method = make(_private(owner, name))
    method.frostline_replaces = vars(owner).get(name)
    object.__setattr__(owner, name, method)


def restore_method(owner: Any, name: str) -> None:
    """Undo `replace_method`, if it was called; a replacement by somebody else stays."""
    held = vars(owner).get(name)
    if not hasattr(held, "frostline_replaces"):
        return
    if held.frostline_replaces is None:
        del vars(owner)[name]
    else:
        object.__setattr__(owner, name, held.frostline_replaces)


def finish_averages(model: Any) -> None:
    """Give trained weights the values that averaging (EMA) ends with, as `fit` does at its end."""
    optimizer = model.optimizer
    if optimizer.built and getattr(optimizer_chain(optimizer)[-1], "use_ema", False):
        optimizer.finalize_variable_values(model.trainable_variables)
        unshare(model)


def update_hooks() -> tuple[str, str]:
    """Return the names of the optimizer's methods for the update step and for weight decay."""
    return "_backend_update_step", "_apply_weight_decay"


@contextmanager
def decay_scaled_by(optimizer: Any, factor: float) -> Iterator[None]:
    """Let the optimizer's weight decay be `factor` times what it is."""
    names = [n for n in ("weight_decay", "adam_weight_decay") if getattr(optimizer, n, None) is not None]
    before = {name: getattr(optimizer, name) for name in names}
    for name, value in before.items():
        object.__setattr__(optimizer, name, value * factor)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(optimizer, name, value)


def metric_variables(model: Any) -> Iterable[tuple[str, Any]]:
    """Yield the name of each metric of the model, with its state variables one by one."""
    for metric in getattr(model, "metrics", []):
        for variable in metric.variables:
            yield metric.name, variable


# Random numbers ---------------------------------------------------------------------------------


def random_seed() -> int | None:
    """Return what `keras.utils.set_random_seed` was last given, or None."""
    from keras.src.utils import rng_utils

    seed: int | None = _private(rng_utils, "get_random_seed")()
    return seed


def global_seed_state() -> Any:
    """Return the state variable of the generator behind random operations without a seed; None before any."""
    from keras.src.backend.common import global_state
    from keras.src.random import seed_generator

    generator = global_state.get_global_attribute(_private(seed_generator, "GLOBAL_SEED_GENERATOR"))
    return generator.state if generator is not None else None


def make_global_seed_state() -> Any:
    """Return the same, making that generator where there is none."""
    from keras.src.random import seed_generator

    return _private(seed_generator, "global_seed_generator")().state
