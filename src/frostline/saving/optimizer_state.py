"""The state of an optimizer by address, so that it finds its weights again in another process."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from frostline._keras.layers import layer_flag
from frostline._keras.optimizers import (
    compiled_optimizer,
    decay_of,
    exclude_from_decay,
    optimizer_chain,
    optimizer_targets,
)
from frostline._keras.trainers import own_buffers
from frostline.errors import OptimizerError, listed
from frostline.files.tensor_file import Array
from frostline.model.alignment import aligned, renamed
from frostline.model.inventory import Inventory, inventory
from frostline.optimizers import rebuild as optimizer
from frostline.optimizers.rebuild import Memory, Target

_VARIABLES, _PARKED = "optimizer/", "parked/"


def optimizer_of(model: Any) -> Any:
    """Return the optimizer of a compiled model if it has made its slots; else None."""
    found = compiled_optimizer(model)
    return found if found is not None and found.built else None


def targets_by_address(opt: Any, held: Inventory) -> tuple[Target, ...]:
    """Return what an optimizer updates, under a plan or not.

    Raises:
        OptimizerError: Some of it does not belong to the model.
    """
    variables = optimizer_targets(optimizer_chain(opt)[-1])
    addresses = {id(v): address for w in held for address, v in w.targets}
    strange = [getattr(v, "path", v.name) for v in variables if id(v) not in addresses]
    if strange:
        raise OptimizerError(
            "the optimizer was built for weights that this model does not have, so its state cannot be saved",
            received=listed(strange),
            remedy="compile this model with an optimizer of its own",
        )
    rates = {target.address: target.rates for target in optimizer.targets_of(opt) or ()}
    return tuple(Target(addresses[id(v)], v, *rates.get(addresses[id(v)], (1.0, 1.0))) for v in variables)


def taken(
    opt: Any, targets: tuple[Target, ...], *, by_keras: bool
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the state of an optimizer as data for JSON, and arrays.

    Args:
        opt: The optimizer, with slots.
        targets: What it updates.
        by_keras: Whether Keras writes its variables, so that only what Keras does not know is returned.
    """
    inner = optimizer_chain(opt)[-1]
    known = optimizer.targets_of(opt) is not None
    memory = optimizer.memory_of(opt) if known else Memory({}, {})
    data = {
        "kept_by": "keras" if by_keras else "frostline",
        "under_plan": known,
        "targets": [[target.address, target.lr, target.decay] for target in targets],
        "without_decay": [
            t.address for t in targets if _weight_decay(inner) and not decay_of(inner, t.variable)
        ],
        "joined": dict(memory.joined),
        "parked": {address: [steps, list(slots)] for address, (slots, steps) in memory.parked.items()},
    }
    named = {} if by_keras else optimizer.named_variables(opt, targets)
    arrays = {f"{_VARIABLES}{name}": _array(variable) for name, variable in named.items()}
    for address, (slots, _) in memory.parked.items():
        arrays |= {f"{_PARKED}{address}/{name}": value for name, value in slots.items()}
    return data, arrays


def restored(
    model: Any, data: Mapping[str, Any], arrays: Mapping[str, Array], names: Mapping[str, str]
) -> None:
    """Give the optimizer of a compiled model the state that `taken` returned.

    Args:
        model: The model.
        data: The data.
        arrays: The arrays.
        names: The address in this model for each one in the data.

    Raises:
        OptimizerError: Its optimizer holds other variables than the saved one did.
    """
    opt, held = model.optimizer, inventory(model)
    by_address = {address: variable for w in held for address, variable in w.targets}
    inner = optimizer_chain(opt)[-1]
    without = [by_address[address] for address in renamed(names, data["without_decay"])]
    exclude_from_decay(inner, without)
    order = {id(v): n for n, v in enumerate(optimizer_targets(inner))}
    now = renamed(names, [address for address, _, _ in data["targets"]])
    found = [
        (saved, Target(address, by_address[address], lr, decay))
        for address, (saved, lr, decay) in zip(now, data["targets"], strict=True)
    ]
    found.sort(key=lambda one: order.get(id(one[1].variable), len(order)))
    if data["under_plan"] or data["kept_by"] == "frostline":
        every = {id(w.variable): w.address for w in held} | {id(v): a for a, v in by_address.items()}
        optimizer.set_targets(opt, [target for _, target in found], every)
        optimizer.remember(opt, _memory(data, arrays, names))
    if data["kept_by"] == "frostline":
        _assign(opt, [replace(target, address=saved) for saved, target in found], arrays)
    own_buffers(model)


def _memory(data: Mapping[str, Any], arrays: Mapping[str, Array], names: Mapping[str, str]) -> Memory:
    parked = {
        renamed(names, [address])[0]: (
            {name: arrays[f"{_PARKED}{address}/{name}"] for name in slots},
            steps,
        )
        for address, (steps, slots) in data["parked"].items()
    }
    joined = dict(zip(renamed(names, data["joined"]), data["joined"].values(), strict=True))
    return Memory(parked, joined)


def _assign(opt: Any, targets: Sequence[Target], arrays: Mapping[str, Array]) -> None:
    named = optimizer.named_variables(opt, targets)
    values = {n.removeprefix(_VARIABLES): a for n, a in arrays.items() if n.startswith(_VARIABLES)}
    if {n: tuple(v.shape) for n, v in named.items()} != {n: a.shape for n, a in values.items()}:
        raise OptimizerError(
            f"the optimizer {type(opt).__name__} holds other variables than the one in the file",
            received=listed(sorted(set(named) ^ set(values))) or "other shapes",
            remedy="load it with compile=False, and compile the model anew",
        )
    for name, variable in named.items():
        variable.assign(values[name])


def fits_plain_keras(model: Any, held: Inventory, targets: tuple[Target, ...]) -> bool:
    """Whether plain Keras, having loaded the model, builds its optimizer for the very same weights.

    Keras keeps the flags of layers that stand in its configuration, and no others. So the model is made
    again from that, and looked at.
    """
    if any(weight.combination is not None for weight in held):
        return False
    trained = [target.address for target in targets]
    flags = [layer_flag(node.layer) for node in held.layers]
    flags += [weight.variable.trainable for weight in held.of_role("weight")]
    if all(flags) and len(trained) == len(held.of_role("weight")):
        return True
    again = _made_again(model, held)
    if again is None:
        return False
    present = inventory(again)
    kinds = [{w.address: (w.shape, w.dtype) for w in one.of_role("weight")} for one in (held, present)]
    names = aligned(*kinds)
    addresses = {id(weight.variable): weight.address for weight in present}
    return [addresses.get(id(v)) for v in again.trainable_variables] == renamed(names, trained)


def _made_again(model: Any, held: Inventory) -> Any:
    import keras

    classes = {type(node.layer).__name__: type(node.layer) for node in held.layers}
    try:
        with _randomness_kept(), keras.saving.custom_object_scope(classes):
            data = keras.saving.serialize_keras_object(model)
            again = keras.saving.deserialize_keras_object({**data, "compile_config": None})
    except Exception:
        # Then Keras will say why when it loads the file; no optimizer comes into that.
        return None
    return again if again.built else None


@contextmanager
def _randomness_kept() -> Iterator[None]:
    """Undo what new layers draw: Keras takes the seeds of initializers from Python's own generator."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)


def _weight_decay(opt: Any) -> bool:
    return bool(getattr(opt, "weight_decay", None))


def _array(variable: Any) -> Array:
    import keras

    value: Array = keras.ops.convert_to_numpy(variable)
    return value
