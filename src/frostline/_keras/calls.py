"""Calling a model as training does, its losses, masks and casts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from frostline._keras.methods import patched, private, replace_method, restore_method


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


@contextmanager
def uncast() -> Iterator[None]:
    """Read variables in their own dtype, whatever the mixed precision of the layer that is called."""
    from keras.src.backend.common import variables

    with private(variables, "AutocastScope")(None):
        yield


def mask_of(tensor: Any) -> Any:
    """Return the mask that a tensor carries to the layers behind, or None."""
    return getattr(tensor, "_keras_mask", None)


@contextmanager
def computing_in(part: Any, dtype: str) -> Iterator[None]:
    """Let a layer or a loss compute in another dtype, with its weights read as that; they keep their own."""
    import keras

    before, name = private(part, "_dtype_policy"), vars(part).get("_dtype")
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

    narrowed = private(dtypes, "BIT64_TO_BIT32_DTYPE")
    with patched(dtypes, BIT64_TO_BIT32_DTYPE={**narrowed, "float64": "float64"}):
        yield


@contextmanager
def losses_left_unbuilt(model: Any) -> Iterator[None]:
    """Compute a loss without building the model's own, which `fit` goes by when it looks at data first."""
    own = getattr(model, "_compile_loss", None)
    if own is None or own.built:
        yield
        return
    given, shares = private(own, "_user_loss"), private(own, "_user_loss_weights")
    fresh = type(own)(given, shares, own.reduction, own.output_names)
    object.__setattr__(model, "_compile_loss", fresh)
    try:
        yield
    finally:
        object.__setattr__(model, "_compile_loss", own)


def user_loss(model: Any) -> Any:
    """Return what a model was compiled with as its loss: a name, a function, an object, or a nest of them."""
    compiled = getattr(model, "_compile_loss", None)
    return None if compiled is None else private(compiled, "_user_loss")


def loss_weights(model: Any) -> Any:
    """Return what a model was compiled with as the weights of its losses, None for none."""
    compiled = getattr(model, "_compile_loss", None)
    return None if compiled is None else private(compiled, "_user_loss_weights")


def loss_settings(loss: Any) -> dict[str, Any]:
    """Return what a loss object of Keras's hands to its function: `axis`, `from_logits` and the like."""
    return dict(getattr(loss, "_fn_kwargs", {}))


def has_compiled_loss(model: Any) -> bool:
    """Whether a model was compiled with a loss; else only what layers add is left to learn by."""
    return getattr(model, "_compile_loss", None) is not None


def has_own_loss(model: Any) -> bool:
    """Whether a model has a loss beside what layers add: a compiled one, or a method of its own."""
    import keras

    methods = ("compute_loss", "_compute_loss")
    own = any(getattr(type(model), name) is not getattr(keras.Model, name) for name in methods)
    return own or has_compiled_loss(model)


@contextmanager
def outputs_known(model: Any) -> Iterator[None]:
    """Spare Keras calling a whole model only to learn the shapes of what comes out.

    `fit` builds losses and metrics from a call of the model on tensors without values, which takes as long as
    tracing it. A Functional or Sequential model has these shapes at hand; others are called as ever.
    """
    if (outputs := _fixed_outputs(model)) is None:
        yield
        return
    replace_method(model, "call", functools.partial(_told_when_symbolic, outputs=outputs), by=_BY_OUTPUTS)
    try:
        yield
    finally:
        restore_method(model, "call", by=_BY_OUTPUTS)


_BY_OUTPUTS = "outputs"


def _fixed_outputs(model: Any) -> Any:
    """Return a nest of what a model puts out; None where a `call` of its own decides that, or lengths do."""
    import keras
    from keras.src.models.functional import Functional

    if type(model).call is keras.Sequential.call:
        model = private(model, "_functional")
    if model is None or type(model).call is not Functional.call:
        return None
    outputs = private(model, "_outputs_struct")
    if isinstance(outputs, list | tuple) and len(outputs) == 1:
        outputs = outputs[0]  # As the model's own `call` returns it.
    plain = all(
        one.shape and one.shape[0] is None and None not in one.shape[1:] and not one.sparse and not one.ragged
        for one in keras.tree.flatten(outputs)
    )
    return outputs if plain else None


def _told_when_symbolic(call: Callable[..., Any], outputs: Any) -> Callable[..., Any]:
    import keras
    from keras.src.backend.common.symbolic_scope import in_symbolic_scope

    @functools.wraps(call)
    def told(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        batch = keras.tree.flatten(inputs)[0].shape[0]
        if not in_symbolic_scope() or batch is None:
            return call(inputs, *args, **kwargs)
        return keras.tree.map_structure(
            lambda one: keras.ops.zeros((batch, *one.shape[1:]), one.dtype), outputs
        )

    return told


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
    from keras.src.backend.common import masking

    private(masking, "set_keras_mask")(tensor, mask)
    return tensor


def call_for_training(model: Any, x: Any) -> Any:
    """Call a model as its training step does: with `training=True` where it takes that."""
    return model(x, training=True) if private(model, "_call_has_training_arg") else model(x)


def call_for_inference(model: Any, x: Any) -> Any:
    """Call a model as `predict` does."""
    return model(x, training=False) if private(model, "_call_has_training_arg") else model(x)


def compute_loss(model: Any, x: Any, y: Any, predicted: Any, sample_weight: Any) -> Any:
    """Return the loss that a training step of the model computes, `add_loss` and penalties included."""
    compute = private(model, "_compute_loss")
    return compute(x=x, y=y, y_pred=predicted, sample_weight=sample_weight, training=True)
