"""Every private name of Keras that Frostline relies on, one small function each.

Tried on Keras 3.15.1; `tests/backends/test_keras_private.py` names the versions and fails when a name goes
away. Nothing else in Frostline may touch an attribute of Keras that begins with an underscore.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

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
    a statistic, which was never meant to train. A parametrized weight stands here once, for all its parts.
    """
    return whole_weights(_private(layer, "_trainable_variables"))


def own_statistics(layer: Any) -> list[Any]:
    """Return the variables that `layer` itself created as not trainable (moving means and the like)."""
    return [v for v in _private(layer, "_non_trainable_variables") if whole_weight(v) is v]


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


def call_apart(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a layer's `call`, and keep a `training` argument given inside from layers called afterwards.

    Keras notes the latest such argument for the whole outermost call, and layers that are given none take it.
    """
    from keras.src.backend.common import global_state

    context = global_state.get_global_attribute("current_call_ctx")
    if context is None:
        return call(*args, **kwargs)
    before = context.get_value("training")
    try:
        return call(*args, **kwargs)
    finally:
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


# Weights made of parts ----------------------------------------------------------------------------


def whole_weight(variable: Any) -> Any:
    """Return the parametrized weight that a variable is the base or a part of; else the variable itself."""
    return getattr(variable, "frostline_weight", variable)


def whole_weights(variables: Iterable[Any]) -> list[Any]:
    """Return variables with each parametrized weight once, in the place of its first part or base."""
    return list({id(whole): whole for whole in map(whole_weight, variables)}.values())


def same_storage(variable: Any, kind: type) -> Any:
    """Return another variable, of class `kind`, that holds the same tensor; nothing is copied."""
    twin: Any = object.__new__(kind)
    # What TensorFlow's checkpoints note about an object is about that object.
    vars(twin).update((k, v) for k, v in vars(variable).items() if not k.startswith("_self_"))
    return twin


def let_go(variable: Any) -> None:
    """Take the tensor away from a variable whose value is from now on computed."""
    _private(variable, "_value")
    variable._value = None


def hold(variable: Any, other: Any) -> None:
    """Give a variable the tensor that another one holds; nothing is copied."""
    variable._value = _private(other, "_value")


def rename_beside(variable: Any, other: Any) -> None:
    """Give a variable a path beside that of another one."""
    above = _private(other, "_path").rpartition("/")[0]
    variable._path = f"{above}/{variable.name}" if above else variable.name


def has_value(variable: Any) -> bool:
    """Return whether a variable holds a tensor: one that waits for its initializer does not."""
    return _private(variable, "_value") is not None


@contextmanager
def uncast() -> Iterator[None]:
    """Read variables in their own dtype, whatever the mixed precision of the layer that is called."""
    from keras.src import backend

    with _private(backend, "AutocastScope")(None):
        yield


def track_parts(layer: Any, weight: Any, parts: Iterable[Any], base: Any) -> None:
    """Let a layer own the parts and the base of a weight in the place of the weight itself."""
    own = _private(layer, "_trainable_variables")
    place = _place(own, weight)
    _replace_tracked(layer, "trainable_variables", own, place, 1, list(parts))
    statistics = _private(layer, "_non_trainable_variables")
    _replace_tracked(layer, "non_trainable_variables", statistics, len(statistics), 0, [base])


def track_whole(layer: Any, weight: Any, parts: Iterable[Any], base: Any) -> None:
    """Undo `track_parts`."""
    held = list(parts)
    own, statistics = _private(layer, "_trainable_variables"), _private(layer, "_non_trainable_variables")
    _replace_tracked(layer, "trainable_variables", own, _place(own, held[0]), len(held), [weight])
    _replace_tracked(layer, "non_trainable_variables", statistics, _place(statistics, base), 1, [])


def owns(layer: Any, weight: Any) -> bool:
    """Return whether a layer itself created a variable as trainable, or was given it; parametrized or not."""
    return any(v is weight for v in own_weights(layer))


def _place(variables: list[Any], variable: Any) -> int:
    # Not `index`: variables compare element by element.
    return next(n for n, v in enumerate(variables) if v is variable)


def _replace_tracked(layer: Any, store: str, held: list[Any], place: int, count: int, new: list[Any]) -> None:
    ids = _private(layer, "_tracker").stored_ids[store]
    ids.difference_update(id(v) for v in held[place : place + count])
    ids.update(id(v) for v in new)
    held[place : place + count] = new


def has_parts(layer: Any) -> bool:
    """Return whether a layer owns parts of weights."""
    return any(whole_weight(v) is not v for v in _private(layer, "_trainable_variables"))


@contextmanager
def tracked_whole(layer: Any) -> Iterator[None]:
    """Let a layer own whole weights for a moment, in their old order, as in files and plain models."""
    held = [_private(layer, "_trainable_variables"), _private(layer, "_non_trainable_variables")]
    before = [list(variables) for variables in held]
    plain = own_weights(layer), own_statistics(layer)
    try:
        for variables, whole in zip(held, plain, strict=True):
            variables[:] = whole
        yield
    finally:
        for variables, parts in zip(held, before, strict=True):
            variables[:] = parts


def mask_of(tensor: Any) -> Any:
    """Return the mask that a tensor carries to the layers behind, or None."""
    return getattr(tensor, "_keras_mask", None)


@contextmanager
def computing_in(part: Any, dtype: str) -> Iterator[None]:
    """Let a layer or a loss compute in another dtype, with its weights read as that; they keep their own."""
    import keras

    before, name = _private(part, "_dtype_policy"), vars(part).get("_dtype")
    policy = keras.dtype_policies.DTypePolicy(dtype)
    policy._variable_dtype = before.variable_dtype
    object.__setattr__(part, "_dtype_policy", policy)
    if name is not None:
        part._dtype = dtype
    try:
        yield
    finally:
        object.__setattr__(part, "_dtype_policy", before)
        if name is not None:
            part._dtype = name


@contextmanager
def float64_kept() -> Iterator[None]:
    """Keep Keras from taking float64 down to float32 where dtypes meet, as it does on JAX and PyTorch."""
    from keras.src.backend.common import dtypes

    with mock.patch.dict(_private(dtypes, "BIT64_TO_BIT32_DTYPE"), {"float64": "float64"}):
        yield


@contextmanager
def losses_left_unbuilt(model: Any) -> Iterator[None]:
    """Compute a loss without building the model's own, which `fit` goes by when it looks at data first."""
    held = getattr(model, "_compile_loss", None)
    if held is None or held.built:
        yield
        return
    given, shares = _private(held, "_user_loss"), _private(held, "_user_loss_weights")
    fresh = type(held)(given, shares, held.reduction, held.output_names)
    object.__setattr__(model, "_compile_loss", fresh)
    try:
        yield
    finally:
        object.__setattr__(model, "_compile_loss", held)


def losses_of(model: Any) -> list[Any]:
    """Return the loss objects that a compiled model was given or has made; none without `compile`."""
    import keras

    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        return []
    made = [one.loss for one in getattr(compiled, "_flat_losses", None) or ()]
    found = [compiled, *keras.tree.flatten(compiled._user_loss), *made]
    return list({id(one): one for one in found if isinstance(one, keras.losses.Loss)}.values())


def with_mask(tensor: Any, mask: Any) -> Any:
    """Return a tensor that carries a mask to the layers behind."""
    from keras.src import backend

    _private(backend, "set_keras_mask")(tensor, mask)
    return tensor


def renew_parameters(layers: Iterable[Any]) -> None:
    """Let the PyTorch modules that layers are see the variables that the layers own now."""
    for layer in layers:
        if hasattr(layer, "_torch_params"):
            layer._track_variables()


# Configurations ---------------------------------------------------------------------------------


def config_of(model: Any) -> dict[str, Any]:
    """Return what a `.keras` file would say of a model, without that of `compile`."""
    from keras.src.saving import serialization_lib

    with warnings.catch_warnings(), _private(serialization_lib, "ObjectSharingScope")():
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
    from keras.src.saving import serialization_lib

    with _private(serialization_lib, "ObjectSharingScope")():
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


def call_for_training(model: Any, x: Any) -> Any:
    """Call a model as its training step does: with `training=True` where it takes that."""
    return model(x, training=True) if _private(model, "_call_has_training_arg") else model(x)


def call_for_inference(model: Any, x: Any) -> Any:
    """Call a model as `predict` does."""
    return model(x, training=False) if _private(model, "_call_has_training_arg") else model(x)


def compute_loss(model: Any, x: Any, y: Any, predicted: Any, sample_weight: Any) -> Any:
    """Return the loss that a training step of the model computes, `add_loss` and penalties included."""
    compute = _private(model, "_compute_loss")
    return compute(x=x, y=y, y_pred=predicted, sample_weight=sample_weight, training=True)


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


_INNERMOST_FIRST = ("weights", "", "first step")
"""Who may replace one method at the same time, and in which order their replacements are nested."""


def replace_method(owner: Any, name: str, make: Callable[[Callable[..., Any]], Any], *, by: str = "") -> None:
    """Put `make(original)` in the place of a method of this one object.

    The object's configuration, class and files do not know of it. `restore_method` undoes it. Those named in
    `_INNERMOST_FIRST` can replace the same method and undo that in any order.
    """
    held = vars(owner).get(name)
    _install(owner, name, _beneath(held), {**_makers(held), by: make})


def restore_method(owner: Any, name: str, *, by: str = "") -> None:
    """Undo `replace_method`, if it was called; a replacement by somebody else stays."""
    held = vars(owner).get(name)
    makers = _makers(held)
    if by in makers:
        _install(owner, name, _beneath(held), {key: make for key, make in makers.items() if key != by})


def restore_held(owner: Any, name: str, then: Any, *, by: str = "") -> None:
    """Put back what `vars(owner).get(name)` was then; what others than `by` did since stays."""
    now = _makers(vars(owner).get(name))
    others = {key: make for key, make in now.items() if key != by}
    wanted = others | {key: make for key, make in _makers(then).items() if key == by}
    if wanted == _makers(then):
        _hold(owner, name, then)
    else:
        _install(owner, name, _beneath(then), wanted)


def _makers(held: Any) -> dict[str, Callable[..., Any]]:
    return dict(getattr(held, "frostline_makers", {}))


def _beneath(held: Any) -> Any:
    return getattr(held, "frostline_replaces", held)


def _install(owner: Any, name: str, beneath: Any, makers: dict[str, Callable[..., Any]]) -> None:
    _hold(owner, name, beneath)
    if not makers:
        return
    method = _private(owner, name)
    for key in sorted(makers, key=_INNERMOST_FIRST.index):
        method = makers[key](method)
    method.frostline_replaces = beneath
    method.frostline_makers = makers
    object.__setattr__(owner, name, method)


def _hold(owner: Any, name: str, held: Any) -> None:
    if held is None:
        vars(owner).pop(name, None)
    else:
        object.__setattr__(owner, name, held)


def finish_averages(model: Any) -> None:
    """Give trained weights the values that averaging (EMA) ends with, as `fit` does at its end."""
    optimizer = model.optimizer
    if optimizer.built and getattr(optimizer_chain(optimizer)[-1], "use_ema", False):
        optimizer.finalize_variable_values(model.trainable_variables)
        unshare(model)


def decay_alike(optimizer: Any, weight: Any, parts: Iterable[Any]) -> None:
    """Exclude parts of a weight from weight decay where the weight itself was excluded as an object."""
    excluded = getattr(optimizer_chain(optimizer)[-1], "_exclude_from_weight_decay", None) or set()
    key = variable_key(optimizer)
    if key(weight) in excluded:
        excluded.update(key(part) for part in parts)


def exclude_from_decay(optimizer: Any, variables: Iterable[Any]) -> None:
    """Exclude variables from weight decay in an optimizer that is built already and made no step yet."""
    key = variable_key(optimizer)
    keys = {key(variable) for variable in variables}
    if keys:
        _private(optimizer, "_use_weight_decay")
        optimizer._exclude_from_weight_decay = keys | getattr(optimizer, "_exclude_from_weight_decay", set())


@contextmanager
def safe_mode(on: bool) -> Iterator[None]:
    """Refuse Python code in what Keras reads inside the block, or, if the user trusts it, do not."""
    from keras.src.saving import serialization_lib

    with _private(serialization_lib, "SafeModeScope")(on):
        yield


@contextmanager
def saved_compiled_as(model: Any, config: Mapping[str, Any]) -> Iterator[None]:
    """Let `model.save` write these compile settings; with none, it leaves out the optimizer's state too."""

    def instead(_: Any) -> Callable[..., Any]:
        return lambda *_: dict(config)

    optimizer = getattr(model, "optimizer", None)
    chain = optimizer_chain(optimizer) if optimizer is not None and not config else []
    replaced = [(model, "get_compile_config"), *((part, "save_own_variables") for part in chain)]
    before = [(owner, name, vars(owner).get(name)) for owner, name in replaced]
    try:
        for owner, name in replaced:
            replace_method(owner, name, instead)
        yield
    finally:
        for owner, name, held in before:
            _hold(owner, name, held)


def update_hooks() -> tuple[str, str, str]:
    """Return the names of the optimizer's methods for the update step, for weight decay and for averages."""
    return "_backend_update_step", "_apply_weight_decay", "_update_model_variables_moving_average"


@contextmanager
def averages_at(optimizer: Any, places: list[int]) -> Iterator[list[Any]]:
    """Let the optimizer's averages (EMA) be those of the weights at some places alone, and yield them."""
    if not optimizer.use_ema:
        yield []
        return
    averages = _private(optimizer, "_model_variables_moving_average")
    chosen = [averages[n] for n in places]
    object.__setattr__(optimizer, "_model_variables_moving_average", chosen)
    try:
        yield chosen
    finally:
        object.__setattr__(optimizer, "_model_variables_moving_average", averages)


def set_momentum_product(optimizer: Any, *, ahead: int = 0) -> None:
    """Set the product of momenta that Nadam keeps for all weights to what its step counter says.

    Nadam multiplies it at each step. A weight that joined late needs the product of its own steps, and one
    number cannot be that of all.
    """
    import keras

    if not isinstance(optimizer, keras.optimizers.Nadam):
        return
    steps = np.arange(1, _MOST_PRODUCTS)
    factors = optimizer.beta_1 * (1.0 - 0.5 * 0.96**steps)
    products = np.concatenate([[1.0], np.cumprod(factors)])
    products = products[: np.searchsorted(-products, -1e-37) + 1].astype("float32")
    made = keras.ops.minimum(keras.ops.cast(optimizer.iterations, "int32") + ahead, len(products) - 1)
    _private(optimizer, "_u_product").assign(keras.ops.take(keras.ops.convert_to_tensor(products), made))


_MOST_PRODUCTS = 100_000


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


def decay_of(optimizer: Any, variable: Any) -> float:
    """Return the weight decay that the optimizer applies to a variable, 0 where it excludes it."""
    decay = getattr(optimizer, "weight_decay", None)
    return float(decay) if decay and _private(optimizer, "_use_weight_decay")(variable) else 0.0


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
