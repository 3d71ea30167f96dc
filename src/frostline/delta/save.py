"""`save_delta`: what of a model is not as in its base, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from frostline._keras.calls import uncast
from frostline._keras.layers import whole_weight
from frostline._keras.trainers import sync_values
from frostline._keras.variables import read_value, to_numpy
from frostline.delta.base_check import lora_alphas
from frostline.delta.contents import BaseWeight, Delta, Entry
from frostline.delta.finite import require_finite_change
from frostline.errors import DeltaError, listed
from frostline.files.tensor_file import Array
from frostline.model.alignment import Known, align
from frostline.model.inventory import Inventory, Role, Weight, inventory
from frostline.parametrization.selections import Rows, Selection
from frostline.parametrization.serialization import serialize
from frostline.render.foreign import warn
from frostline.resolution.parts import part_text
from frostline.saving.plan_state import plan_data
from frostline.trainability.plan_on_model import resolution_on
from frostline.verification.digest import digest_array, digest_without
from frostline.verification.fingerprint import Digest, Fingerprint, fingerprint_of
from frostline.verification.receipt import Receipt

_ROLES: tuple[Role, ...] = ("weight", "statistic")


def save_delta(model: Any, path: str | os.PathLike[str], *, base: Any = None, check: bool = True) -> Delta:
    """Write only what training changed, as values that replace those of the base.

    A delta holds weights that trained as a whole, the trained elements of those parametrized with `Rows`,
    `Columns`, `Index` or `Mask`, the parts of those with `LowRank`, `Scale` or a parametrization of your own,
    and statistics that moved. The header has the plan, the digest of every weight of the base, and a digest
    of it all. It is one safetensors file.

    What changed is known from the base:

    - a `Run` of `fl.fit`, or its `Receipt`: what is not as it was before that run;
    - a `Fingerprint` taken before training: what differs from it;
    - the base model itself: what differs from it, and of a plain weight with two axes or more only the
      rows that differ, where these are at most half;
    - nothing: what trains by the flags of the model now, the parts of parametrized weights, and statistics
      that may move. What a whole weight was before is not known then, so nothing is said of it.

    Args:
        model: The trained model. It is not changed.
        path: The file, such as `"tuned.safetensors"`. It is replaced as a whole or not at all.
        base: See above.
        check: Whether to read every weight. Without it a `Run` or `Receipt` is taken at its word that the
            model is as it left it; that takes no time even where the base is large.

    Returns:
        The `Delta` that was written.

    Raises:
        DeltaError: The base is of another model, the file cannot be written, or a number is not finite that
            was finite in the base.
        ParametrizationError: A parametrization of your own is not registered with Keras.

    Example:
        >>> import keras, tempfile
        >>> from pathlib import Path
        >>> from frostline.verification.fingerprint import fingerprint
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> before = fingerprint(model)
        >>> _ = model.layers[0].bias.assign([1.0, 2.0])
        >>> delta = save_delta(model, Path(tempfile.mkdtemp()) / "tuned.safetensors", base=before)
        >>> list(delta.entries)
        ['head/bias']
    """
    delta = delta_of(model, base, check=check)
    delta.save(path)
    return delta


def delta_of(model: Any, base: Any = None, *, check: bool = True) -> Delta:
    """Return what `save_delta` writes."""
    sync_values(model)
    model_inventory = inventory(model)
    weights = model_inventory.of_role(*_ROLES)
    known, now = _known_base(base, check=check), None
    if known is not None:
        known = known.with_addresses_of(model_inventory)
        _require_same_weights(model_inventory, known.before)
        now = known.after or fingerprint_of(weights)
        found = {
            w.address: _change(w, known.before[w.address], now[w.address], known.values) for w in weights
        }
    else:
        moving = _moving(model, model_inventory)
        found = {w.address: _change_by_flags(w, w.address in moving) for w in weights}
    resolution = resolution_on(model)
    plan = known.plan if known is not None else None
    if plan is None and resolution is not None:
        plan = plan_data(resolution)
    entries = {address: entry for address, (entry, _) in found.items() if entry is not None}
    require_finite_change(
        model_inventory.model_name, entries, known.before if known is not None else None, now
    )
    _warn_of_memory(model_inventory, known.before if known is not None else None)
    base_weights = {address: base_weight for address, (_, base_weight) in found.items()}
    return Delta(model_inventory.model_name, entries, base_weights, plan, lora=lora_alphas(model_inventory))


_Changed = tuple[Entry | None, BaseWeight]
"""What a delta does to a weight, if anything, and what its base has there."""

_Values = Callable[[str], Array]


@dataclass(frozen=True, slots=True)
class _KnownBase:
    """What is known of a base.

    Attributes:
        before: Its fingerprint.
        after: The fingerprint of the trained model, where that is taken for known.
        plan: What the model was trained under.
        values: The values of the base by address, where it is there itself.
    """

    before: Fingerprint
    after: Fingerprint | None = None
    plan: Any = None
    values: _Values | None = None

    def with_addresses_of(self, model_inventory: Inventory) -> _KnownBase:
        """Return the same with the addresses that the model has."""
        present = {w.address: w.known((w.shape, w.dtype)) for w in model_inventory.of_role(*_ROLES)}
        own = {a: Known((d.shape, d.dtype), d.stem) for a, d in self.before.items() if d.role in _ROLES}
        names, values = align(own, present).names, self.values
        back = {present: saved for saved, present in names.items()}

        def named(one: Fingerprint) -> Fingerprint:
            return Fingerprint({names.get(address, address): digest for address, digest in one.items()})

        return _KnownBase(
            named(self.before),
            named(self.after) if self.after is not None else None,
            self.plan,
            (lambda address: values(back[address])) if values is not None else None,
        )


def _known_base(base: Any, *, check: bool) -> _KnownBase | None:
    """Return what is known of a base; None where there is none."""
    receipt = base if isinstance(base, Receipt) else getattr(base, "receipt", None)
    if isinstance(receipt, Receipt):
        return _KnownBase(receipt.before, None if check else receipt.after, receipt.plan)
    if hasattr(base, "receipt"):
        raise DeltaError(
            "the run has no receipt, so what changed is not known",
            received="a Run of fl.fit(..., guard=False)",
            remedy="give base=None, or the fingerprint from before training",
        )
    if not (base is None or isinstance(base, Fingerprint | keras.Layer)):
        raise DeltaError(
            "this is not a base",
            received=f"an object of type {type(base).__name__}",
            expected="a Run of fl.fit, a Receipt, a Fingerprint, the base model, or None",
        )
    if not check:
        raise DeltaError(
            "check=False needs base= a Run or a Receipt",
            received=f"check=False with {'no base' if base is None else type(base).__name__}",
            remedy="leave check=False out, or give base=fl.fit(...)",
        )
    if base is None or isinstance(base, Fingerprint):
        return _KnownBase(base) if base is not None else None
    weights = {w.address: w for w in inventory(base).of_role(*_ROLES)}
    return _KnownBase(fingerprint_of(weights.values()), values=lambda address: weights[address].numpy())


def _warn_of_memory(model_inventory: Inventory, before: Fingerprint | None) -> None:
    """Say which memory of layers is not as it was in the base: no delta has it."""
    known: dict[str, Digest] = dict(before or {})
    memory = {w.address: w.variable for w in model_inventory.of_role("state")}
    moved = [a for a, v in memory.items() if a not in known or _digest_of(v) != known[a].blake3]
    if moved:
        sure = all(a in known for a in moved)
        warn(
            f"the delta leaves out memory of layers that {'has' if sure else 'may have'} moved: "
            f"{listed(moved)}; fix: where predictions depend on it, keep the model with fl.save_model, or "
            "make the memory a buffer or a variable that does not train",
            stacklevel=4,
        )


def _require_same_weights(model_inventory: Inventory, before: Fingerprint) -> None:
    now = {w.address: (w.role, w.shape, w.dtype) for w in model_inventory.of_role(*_ROLES)}
    then = {a: (d.role, d.shape, d.dtype) for a, d in before.items() if d.role in _ROLES}
    differ = [a for a in dict.fromkeys((*now, *then)) if now.get(a) != then.get(a)]
    if differ:
        raise DeltaError(
            f"the base has other weights than the model {model_inventory.model_name!r}",
            received=f"these differ in shape, dtype or name: {listed(differ)}",
            expected="the model that training began with",
        )


# What became of one weight ------------------------------------------------------------------------


def _change(weight: Weight, old: Digest, new: Digest, values: _Values | None) -> _Changed:
    """Return what became of a weight since its base."""
    if old.same_values(new) and not (_rounds_parts_away(weight) and _base_kept(weight, old, new)):
        return None, BaseWeight(weight.shape, weight.dtype, old.blake3)
    made_of = weight.combination
    if made_of is not None and _base_kept(weight, old, new):
        if isinstance(made_of.how, Selection):
            return _of_parts(weight), BaseWeight(weight.shape, weight.dtype, old.blake3, new.frozen)
        whole = new.frozen if made_of.how.elements(weight.shape) is None else _digest_of(made_of.base)
        return _of_parts(weight), BaseWeight(weight.shape, weight.dtype, whole)
    if made_of is None and values is not None and len(weight.shape) > 1:
        rows = _changed_rows(weight.numpy(), values(weight.address))
        if 0 < len(rows) <= weight.shape[0] // 2:
            return _of_rows(weight, rows, old.blake3)
    return _whole(weight), BaseWeight(weight.shape, weight.dtype, old.blake3)


def _base_kept(weight: Weight, old: Digest, new: Digest) -> bool:
    """Whether the frozen values of a parametrized weight are those that the base has."""
    if new.part != part_text(weight.combination.how, weight.shape):
        return False
    rest = old.rest(new.part)
    return rest == new.frozen if rest is not None else _digest_of(weight.combination.base) == old.blake3


def _rounds_parts_away(weight: Weight) -> bool:
    """Whether parts have moved a weight of half precision by less than it can hold.

    Its value is that of the base, and training would go on from the parts all the same.
    """
    made_of = weight.combination
    if made_of is None or isinstance(made_of.how, Selection) or weight.dtype not in ("float16", "bfloat16"):
        return False
    with uncast():
        base, *parts = (keras.ops.cast(v.value, "float32") for v in (made_of.base, *made_of.parts.values()))
        moved = made_of.how.combine(base, dict(zip(made_of.parts, parts, strict=True)))
    return bool(keras.ops.any(keras.ops.not_equal(moved, base)))


def _change_by_flags(weight: Weight, moves: bool) -> _Changed:
    """Return the same without a base, by the flags and the frozen values of parametrized weights."""
    made_of = weight.combination
    if made_of is not None:
        whole, frozen = _digest_of(made_of.base), ""
        if whole == _digest_of(weight.variable) and not _rounds_parts_away(weight):
            return None, BaseWeight(weight.shape, weight.dtype, whole)
        if isinstance(made_of.how, Selection):
            frozen = digest_without(read_value(made_of.base), made_of.how.elements(weight.shape))
        return _of_parts(weight), BaseWeight(weight.shape, weight.dtype, whole, frozen)
    if moves:
        return _whole(weight), BaseWeight(weight.shape, weight.dtype, "")
    return None, BaseWeight(weight.shape, weight.dtype, _digest_of(weight.variable))


def _moving(model: Any, model_inventory: Inventory) -> set[str]:
    """Return the addresses of all that may have changed, by what trains now."""
    resolution = resolution_on(model)
    trained = {id(whole_weight(v)) for v in model.trainable_variables}
    moving = {w.address for w in model_inventory.of_role("weight") if id(w.variable) in trained}
    if resolution is not None:
        return moving | {d.weight.address for d in resolution.changing}
    layers = [n for n in model_inventory.layers if not (n.quantized or n.constant)]
    active = {n.address for n in layers if n.layer.trainable}
    return moving | {w.address for w in model_inventory.of_role("statistic") if w.layer in active}


def _of_parts(weight: Weight) -> Entry:
    made_of = weight.combination
    how, places = serialize(made_of.how)
    kind = "elements" if isinstance(made_of.how, Selection) else "parts"
    values = {name: to_numpy(part) for name, part in made_of.parts.items()}
    return _entry(weight, kind, str(made_of.how), how, values, places)


def _of_rows(weight: Weight, rows: Array, whole: str) -> _Changed:
    how = Rows([int(row) for row in rows])
    data, _ = serialize(how)
    value = weight.numpy()
    frozen = digest_without(value, how.elements(weight.shape))
    entry = _entry(weight, "elements", str(how), data, {how.part: value[rows]}, {})
    return entry, BaseWeight(weight.shape, weight.dtype, whole, frozen)


def _changed_rows(value: Array, base: Array) -> Array:
    one, two = (np.ascontiguousarray(a).reshape(len(a), -1).view(np.uint8) for a in (value, base))
    return np.flatnonzero((one != two).any(axis=1))


def _whole(weight: Weight) -> Entry:
    return _entry(weight, "whole", "all of it", None, {"": weight.numpy()}, {})


def _entry(weight: Weight, kind: Any, what: str, how: Any, values: Any, places: Any) -> Entry:
    return Entry(weight.address, weight.role, weight.shape, weight.dtype, kind, what, how, values, places)


def _digest_of(variable: Any) -> str:
    return digest_array(read_value(variable))
