"""The state of an optimizer by address, so that it finds its weights again in another process."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras

from frostline._keras.layers import layer_flag
from frostline._keras.optimizers import (
    compiled_optimizer,
    decay_of,
    exclude_from_decay,
    optimizer_chain,
    optimizer_targets,
)
from frostline._keras.trainers import own_buffers
from frostline._keras.variables import to_numpy
from frostline.errors import OptimizerError, UnsupportedVersionError, listed, said
from frostline.files.tensor_file import Array
from frostline.model.alignment import align, renamed
from frostline.model.inventory import Inventory, inventory
from frostline.optimizers.rebuild import restore_history, set_targets
from frostline.optimizers.state import SlotHistory, Target, history_of, named_variables, targets_of
from frostline.render.foreign import warn
from frostline.saving.native_lora import layers_with_lora

_VARIABLES, _PARKED = "optimizer/", "parked/"


def built_optimizer(model: Any) -> Any:
    """Return the optimizer of a compiled model if it has made its slots; else None."""
    optimizer = compiled_optimizer(model)
    return optimizer if optimizer is not None and optimizer.built else None


def targets_by_address(optimizer: Any, model_inventory: Inventory) -> tuple[Target, ...]:
    """Return what an optimizer updates, under a plan or not.

    Raises:
        OptimizerError: Some of it does not belong to the model.
    """
    variables = optimizer_targets(optimizer_chain(optimizer)[-1])
    addresses = {id(v): address for w in model_inventory for address, v in w.targets}
    strange = [getattr(v, "path", v.name) for v in variables if id(v) not in addresses]
    if strange:
        raise OptimizerError(
            "the optimizer was built for weights that this model does not have, so its state cannot be saved",
            received=listed(strange),
            remedy="put a plan on it with fl.apply or fl.fit, which build the optimizer anew; or compile it "
            "with a new one",
        )
    rates = {target.address: target.rates for target in targets_of(optimizer) or ()}
    return tuple(Target(addresses[id(v)], v, *rates.get(addresses[id(v)], (1.0, 1.0))) for v in variables)


def optimizer_state(
    optimizer: Any, targets: tuple[Target, ...], *, by_keras: bool
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the state of an optimizer as data for JSON, and arrays.

    Args:
        optimizer: The optimizer, with slots.
        targets: What it updates.
        by_keras: Whether Keras writes its variables, so that only what Keras does not know is returned.
    """
    inner = optimizer_chain(optimizer)[-1]
    under_plan = targets_of(optimizer) is not None
    history = history_of(optimizer) if under_plan else SlotHistory({}, {})
    decays = bool(getattr(inner, "weight_decay", None))
    data = {
        "kept_by": "keras" if by_keras else "frostline",
        "under_plan": under_plan,
        "targets": [[target.address, target.lr, target.decay] for target in targets],
        "without_decay": [t.address for t in targets if decays and not decay_of(inner, t.variable)],
        "joined": dict(history.joined),
        "parked": {address: [steps, list(slots)] for address, (slots, steps) in history.parked.items()},
    }
    variables = {} if by_keras else named_variables(optimizer, targets)
    arrays = {f"{_VARIABLES}{name}": to_numpy(variable) for name, variable in variables.items()}
    for address, (slots, _) in history.parked.items():
        arrays |= {f"{_PARKED}{address}/{name}": value for name, value in slots.items()}
    return data, arrays


def restore_optimizer(
    model: Any, data: Mapping[str, Any], arrays: Mapping[str, Array], names: Mapping[str, str]
) -> None:
    """Give the optimizer of a compiled model the state that `optimizer_state` returned.

    Args:
        model: The model.
        data: The data.
        arrays: The arrays.
        names: The address in this model for each one in the data.

    Raises:
        OptimizerError: Its optimizer holds other variables than the saved one did.
    """
    optimizer, model_inventory = model.optimizer, inventory(model)
    by_address = {address: variable for w in model_inventory for address, variable in w.targets}
    inner = optimizer_chain(optimizer)[-1]
    exclude_from_decay(inner, [by_address[address] for address in renamed(names, data["without_decay"])])
    present = renamed(names, [address for address, _, _ in data["targets"]])
    targets = [
        (saved, Target(address, by_address[address], lr, decay))
        for address, (saved, lr, decay) in zip(present, data["targets"], strict=True)
    ]
    # Slots belong to the optimizer's variables by their order, which that of the file need not be.
    order = {id(v): n for n, v in enumerate(optimizer_targets(inner))}
    targets.sort(key=lambda one: order.get(id(one[1].variable), len(order)))
    if data["under_plan"] or data["kept_by"] == "frostline":
        whole_weights = {id(w.variable): w.address for w in model_inventory}
        addresses = whole_weights | {id(v): address for address, v in by_address.items()}
        set_targets(optimizer, [target for _, target in targets], addresses)
        weights = {weight.address: weight.variable for weight in model_inventory}
        restore_history(optimizer, _history(data, arrays, names), weights)
    if data["kept_by"] == "frostline":
        _assign(optimizer, [replace(target, address=saved) for saved, target in targets], arrays)
    own_buffers(model)


def _history(data: Mapping[str, Any], arrays: Mapping[str, Array], names: Mapping[str, str]) -> SlotHistory:
    parked = {
        renamed(names, [address])[0]: (
            {name: arrays[f"{_PARKED}{address}/{name}"] for name in slots},
            steps,
        )
        for address, (steps, slots) in data["parked"].items()
    }
    joined = dict(zip(renamed(names, data["joined"]), data["joined"].values(), strict=True))
    return SlotHistory(parked, joined)


def _assign(optimizer: Any, targets: Sequence[Target], arrays: Mapping[str, Array]) -> None:
    variables = named_variables(optimizer, targets)
    values = {n.removeprefix(_VARIABLES): a for n, a in arrays.items() if n.startswith(_VARIABLES)}
    if {n: tuple(v.shape) for n, v in variables.items()} != {n: a.shape for n, a in values.items()}:
        raise OptimizerError(
            f"the optimizer {type(optimizer).__name__} holds other variables than the one in the file",
            received=listed(sorted(set(variables) ^ set(values))) or "other shapes",
            remedy="load it with compile=False, and compile the model again",
        )
    for name, variable in variables.items():
        variable.assign(values[name])


def is_built_alike_by_keras(model: Any, model_inventory: Inventory, targets: tuple[Target, ...]) -> bool:
    """Whether plain Keras, having loaded the model, builds its optimizer for the very same weights.

    Keras keeps the flags of layers that stand in its configuration, and no others. So a copy is made from
    that, and its flags are read.
    """
    if any(weight.combination is not None for weight in model_inventory):
        return False
    if layers_with_lora(model_inventory):
        return False  # Keras merges the factors and would put their slots on new ones.
    weights = model_inventory.of_role("weight")
    trained = [target.address for target in targets]
    flags = [layer_flag(node.layer) for node in model_inventory.layers]
    flags += [weight.variable.trainable for weight in weights]
    if all(flags) and len(trained) == len(weights):
        return True
    copy = _copy_from_config(model, model_inventory)
    if copy is None:
        return False
    copied = inventory(copy)
    names = align(
        {w.address: w.known((w.shape, w.dtype)) for w in weights},
        {w.address: w.known((w.shape, w.dtype)) for w in copied.of_role("weight")},
    ).names
    addresses = {id(weight.variable): weight.address for weight in copied}
    return [addresses.get(id(v)) for v in copy.trainable_variables] == renamed(names, trained)


def _copy_from_config(model: Any, model_inventory: Inventory) -> Any:
    """Return a model made from the configuration of another one; None where that gives no built model."""
    classes = {type(node.layer).__name__: type(node.layer) for node in model_inventory.layers}
    try:
        with _randomness_kept(), keras.saving.custom_object_scope(classes):
            data = keras.saving.serialize_keras_object(model)
            # Code in it (Lambda layers, PyTorch modules) is that of the model at hand.
            copy = keras.saving.deserialize_keras_object({**data, "compile_config": None}, safe_mode=False)
    except UnsupportedVersionError:
        raise
    except Exception as error:
        warn(
            f"the model {model.name!r} cannot be made again from its configuration, so plain Keras opens the "
            f"file without optimizer and loss, if at all: {said(error)}",
            stacklevel=5,
        )
        return None
    return copy if copy.built else None


@contextmanager
def _randomness_kept() -> Iterator[None]:
    """Undo what new layers draw: Keras takes the seeds of initializers from Python's own generator."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)
