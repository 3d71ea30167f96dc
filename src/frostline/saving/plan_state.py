"""All that was decided about a model's weights, as data and arrays; and back on the loaded model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from frostline._keras.layers import layer_flag, set_layer_flag
from frostline._keras.variables import dtype_of, read_value, to_numpy
from frostline.errors import ModelFileError, PlanError, listed
from frostline.files.tensor_file import Array
from frostline.model.alignment import Known, align, former_names, renamed, warn_of_former_names
from frostline.model.inventory import Inventory, Weight, inventory
from frostline.parametrization.base import Parametrization
from frostline.parametrization.install import parametrize
from frostline.parametrization.selections import Selection
from frostline.parametrization.serialization import deserialize, serialize
from frostline.plan.plan import Plan
from frostline.plan.rule import Rule
from frostline.plan.selectors import Selector, selector
from frostline.render.foreign import warn
from frostline.render.tables import count
from frostline.resolution.resolution import Resolution
from frostline.saving.held_values import held_state, names_of_held, restore_held
from frostline.saving.native_lora import enable_lora, lora_state, restore_exactly
from frostline.trainability.apply import put_plan_on
from frostline.trainability.plan_on_model import resolution_on
from frostline.verification.digest import digest_array

_BASE, _PART, _HOW = "base/", "part/", "how/"


@dataclass(frozen=True)
class Decisions:
    """What a model file says beside what Keras keeps.

    Attributes:
        data: Plain data for JSON: flags by address, parametrizations, the plan.
        arrays: What of parametrized weights the merged value does not tell, by name.
    """

    data: Mapping[str, Any]
    arrays: Mapping[str, Array]


def decisions_of(model: Any, model_inventory: Inventory) -> Decisions:
    """Return every decision about a model, without changing it.

    Raises:
        ParametrizationError: A parametrization cannot be written to a file.
    """
    resolution = resolution_on(model)
    parametrized: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for weight in model_inventory:
        if weight.combination is not None:
            parametrized[weight.address], own = _parametrized_state(weight, resolution)
            arrays |= own
    states, held = held_state(model_inventory)
    lora, exact = lora_state(model_inventory)
    arrays |= held | exact
    data = {
        "weights": {w.address: _weight_data(w) for w in _in_keras(model_inventory)},
        "states": states,
        "lora": lora,
        "layers": {node.address: layer_flag(node.layer) for node in model_inventory.layers},
        "parametrized": parametrized,
        "plan": _plan(resolution) if resolution is not None else None,
    }
    return Decisions(data, arrays)


def _in_keras(model_inventory: Inventory) -> list[Weight]:
    """Return the variables that Keras's own files hold."""
    return [w for w in model_inventory if w.role not in ("metric", "state") and not w.is_held]


def _weight_data(weight: Weight) -> dict[str, Any]:
    data = {"shape": list(weight.shape), "dtype": weight.dtype, "trains": bool(weight.variable.trainable)}
    # Parts are put together in another order on other backends, and seeds have other dtypes there.
    if weight.combination is None and weight.role != "seed":
        data["blake3"] = digest_array(read_value(weight.variable))
    return data


def _plan(resolution: Resolution) -> dict[str, Any]:
    try:
        rules: Any = resolution.plan.to_data()
    except PlanError:
        rules = None
    return {"rules": rules, "decided": _decided(resolution)}


def plan_data(resolution: Resolution) -> Any:
    """Return the plan of a resolution as in a plan file; one with Python functions as rules by address."""
    try:
        return resolution.plan.to_data()
    except PlanError:
        # Here a parametrization of the user's own is left out, which no plan file can hold.
        return _by_addresses(_decided(resolution), {}, {}).to_data()


def _decided(resolution: Resolution) -> dict[str, Any]:
    """Return what a plan decided, address by address, whatever its rules are."""
    return {
        "trained": [[d.weight.address, d.lr, d.decay] for d in resolution.trained],
        "moving": [d.weight.address for d in resolution.moving],
        "assigned": [d.weight.address for d in resolution.assigned],
        "batchnorm": resolution.plan.batchnorm,
        "stochastic": resolution.plan.stochastic,
    }


def _by_addresses(
    decided: Mapping[str, Any], names: Mapping[str, str], hows: Mapping[str, Parametrization]
) -> Plan:
    """Return a plan that decides the same for one model, with every address named."""
    groups: dict[tuple[float, float], list[str]] = {}
    for address, lr, decay in decided["trained"]:
        groups.setdefault((lr, decay), []).append(address)
    if groups:
        # A rule may pick statistics beside weights, and not alone.
        next(iter(groups.values())).extend(decided["moving"])

    def exactly(addresses: Sequence[str]) -> Selector:
        return selector({"any": [f"re:{re.escape(address)}" for address in renamed(names, addresses)]})

    def rule(addresses: list[str], lr: float, decay: float, how: Parametrization | None = None) -> Rule:
        return Rule("train", exactly(addresses), lr, decay, part=how)

    whole = [
        rule(rest, *rates)
        for rates, addresses in groups.items()
        if (rest := [address for address in addresses if address not in hows])
    ]
    parts = [
        rule([address], lr, decay, hows[address])
        for address, lr, decay in decided["trained"]
        if address in hows
    ]
    # Files of 0.1 know nothing that code assigns.
    to_code = decided.get("assigned", ())
    left = [Rule("assigned", exactly(to_code))] if to_code else []
    return Plan((*whole, *parts, *left), "freeze", decided["batchnorm"], decided["stochastic"])


def restore_decisions(
    model: Any, decisions: Decisions, custom_objects: Mapping[str, Any] | None
) -> dict[str, str]:
    """Bring a model that Keras has just loaded under the decisions of its file.

    Returns:
        The address in the loaded model for each one in the file.

    Raises:
        ModelFileError: They are of another model.
        ParametrizationError: A parametrization is of a class that is not known here.
    """
    data, model_inventory = decisions.data, inventory(model)
    # What Frostline 0.1 wrote has neither of the two.
    states, lora = data.get("states", {}), data.get("lora", {})
    if enable_lora(model_inventory, lora, _present_layers(model_inventory, data["layers"])):
        model_inventory = inventory(model)
    names, parametrized = _present_names(model_inventory, data["weights"]), data["parametrized"]
    restore_exactly(model_inventory, names, decisions.arrays)
    if "states" in data:
        held_names = names_of_held(model_inventory, states)
        restore_held(model_inventory, states, held_names, decisions.arrays)
        names |= held_names
    _require_same_values(model_inventory, data["weights"], names)
    own = {address: _arrays_of(decisions.arrays, address) for address in parametrized}
    hows = {address: _how(about, own[address], custom_objects) for address, about in parametrized.items()}
    for address, how in hows.items():
        if not parametrized[address]["by_plan"]:
            parametrize(model, names[address], how)
    if data["plan"] is not None:
        planned = {address: how for address, how in hows.items() if parametrized[address]["by_plan"]}
        put_plan_on(model, _plan_for(data["plan"], names, planned))
    for address in parametrized:
        _assign(model_inventory.by_address[names[address]], own[address])
    _set_flags(model_inventory, data, names)
    return names


def _plan_for(plan: Mapping[str, Any], names: Mapping[str, str], hows: Mapping[str, Parametrization]) -> Plan:
    """Return the plan with its own rules, where these still pick the same weights."""
    if plan["rules"] is not None and all(one == other for one, other in names.items()):
        return Plan.from_data(plan["rules"])
    return _by_addresses(plan["decided"], names, hows)


def _set_flags(model_inventory: Inventory, data: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for address, about in data["weights"].items():
        variable = model_inventory.by_address[names[address]].variable
        if variable.trainable != about["trains"]:
            variable.trainable = about["trains"]
    for address, about in data["parametrized"].items():
        model_inventory.by_address[names[address]].combination.flag = about["flag"]
    nodes = _present_layers(model_inventory, data["layers"])
    for address, flag in data["layers"].items():
        if (node := model_inventory.layer_by_address.get(nodes[address])) is not None:
            set_layer_flag(node.layer, flag)


def _present_layers(model_inventory: Inventory, saved: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the address in a model for that of each layer in its file."""
    present = {node.address: Known(None, node.stem) for node in model_inventory.layers}
    return align(dict.fromkeys(saved, Known(None)), present, renamed=True).names


def _require_same_values(
    model_inventory: Inventory, saved: Mapping[str, Any], names: Mapping[str, str]
) -> None:
    """Check that Keras brought back the very numbers: a layer writes and reads its own as it likes."""
    differ = [
        names[address]
        for address, about in saved.items()
        if "blake3" in about
        and digest_array(read_value(model_inventory.by_address[names[address]].storage)) != about["blake3"]
    ]
    if differ:
        raise ModelFileError(
            f"{count(len(differ), 'weight')} came back with other values than were saved",
            received=listed(differ),
            expected="the same bits: Keras, or a layer of your own, does not write or read them as they are",
            remedy="see save_own_variables and load_own_variables of the layer; keras.models.load_model "
            "opens the model as it is in the file",
        )


def _arrays_of(arrays: Mapping[str, Array], address: str) -> dict[str, Array]:
    """Return the arrays of one weight, by their names without its address."""
    found: dict[str, Array] = {}
    for kind in (_BASE, _PART, _HOW):
        start = f"{kind}{address}:"
        found |= {f"{kind}{n.removeprefix(start)}": a for n, a in arrays.items() if n.startswith(start)}
    return found


def _parametrized_state(
    weight: Weight, resolution: Resolution | None
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what a parametrized weight is made of, as data for JSON, and arrays."""
    made_of = weight.combination
    how, own = serialize(made_of.how)
    arrays = {f"{_HOW}{weight.address}:{name}": array for name, array in own.items()}
    if not isinstance(made_of.how, Selection):
        # The merged weight tells the elements of a selection, and not the factors of others.
        arrays |= {f"{_PART}{weight.address}:{n}": to_numpy(part) for n, part in made_of.parts.items()}
    base, merged = _base_elements(weight), weight.numpy()
    if base.shape != merged.shape or base.tobytes() != merged.tobytes():
        arrays[f"{_BASE}{weight.address}:"] = base
    planned = resolution is not None and any(d.weight.address == weight.address for d in resolution.trained)
    about = {
        "how": how,
        "what": str(made_of.how),
        "parts": list(made_of.parts),
        # Whether it trains once it is plain again.
        "flag": bool(made_of.flag) or planned,
        "by_plan": bool(made_of.by_plan),
    }
    return about, arrays


def _base_elements(weight: Weight) -> Array:
    """Return what of the base the merged weight does not tell."""
    made_of = weight.combination
    elements = made_of.how.elements(weight.shape)
    if not isinstance(made_of.how, Selection) or elements is None:
        return to_numpy(made_of.base)
    return to_numpy(elements.take(made_of.base.value))


def _how(
    about: Mapping[str, Any], arrays: Mapping[str, Array], custom_objects: Mapping[str, Any] | None
) -> Parametrization:
    places = {name.removeprefix(_HOW): a for name, a in arrays.items() if name.startswith(_HOW)}
    return deserialize(about["how"], places, custom_objects)


def _assign(weight: Weight, arrays: Mapping[str, Array]) -> None:
    made_of = weight.combination
    if (base := arrays.get(_BASE)) is not None:
        elements = made_of.how.elements(weight.shape)
        if isinstance(made_of.how, Selection) and elements is not None:
            base = elements.put(made_of.base.value, keras.ops.convert_to_tensor(base, dtype=weight.dtype))
        made_of.base.assign(base)
    values = {n: arrays[f"{_PART}{n}"] for n in made_of.parts if f"{_PART}{n}" in arrays}
    _require_shapes(weight, values)
    for name, value in values.items():
        made_of.parts[name].assign(value)


def _require_shapes(weight: Weight, values: Mapping[str, Array]) -> None:
    """Check that parts take the values of their file; where they round them, say so."""
    parts = weight.combination.parts
    other = [n for n, value in values.items() if value.shape != tuple(int(size) for size in parts[n].shape)]
    if other:
        raise ModelFileError(
            f"the parts of {weight.address!r} have other shapes in the file",
            received=listed(f"{name} of shape {values[name].shape}" for name in other),
            expected=listed(f"{name} of shape {tuple(parts[name].shape)}" for name in other),
            remedy="a parametrization of your own may have changed since",
        )
    rounded = [n for n, value in values.items() if value.dtype.name != dtype_of(parts[n])]
    if rounded:
        warn(
            f"{listed(rounded)} of {weight.address!r} are {values[rounded[0]].dtype.name} in the file and "
            f"{dtype_of(parts[rounded[0]])} in the model, and are converted: parts have the dtype of their "
            "weight, which in files of Frostline 0.1 they did not",
            stacklevel=2,
        )


def _present_names(model_inventory: Inventory, saved: Mapping[str, Any]) -> dict[str, str]:
    """Return the address in a model for each one in its file."""
    weights = _in_keras(model_inventory)
    present = {w.address: w.known(_kind(w.address, w.shape, w.dtype)) for w in weights}
    wanted = {a: Known(_kind(a, about["shape"], about["dtype"])) for a, about in saved.items()}
    names = dict(align(wanted, present, renamed=True).names)
    here = {address: known.kind for address, known in present.items()}
    there = {names[address]: known.kind for address, known in wanted.items()}
    if here == there:
        if former := former_names(names, present):
            warn_of_former_names("the model file", former)
        return names
    differ = [a for a in dict.fromkeys((*there, *here)) if here.get(a) != there.get(a)]
    raise ModelFileError(
        "the decisions in the file are of another model than the one in it",
        received=f"these differ: {listed(differ)}",
        expected="the weights that the model had when it was saved",
        remedy="a custom layer may have changed since; keras.models.load_model opens the model without the "
        "decisions",
    )


def _kind(address: str, shape: Sequence[int], dtype: str) -> tuple[tuple[int, ...], str]:
    """Return what two copies of a variable have in common; seeds have another dtype on each backend."""
    return tuple(shape), "seed" if _SEED.search(address) else dtype


_SEED = re.compile(r"(^|/)seed_generator/state(#\d+)?$")
