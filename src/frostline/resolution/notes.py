"""What a plan cannot see but its user should know: raw variables, lost penalties, LoRA's base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from frostline.errors import listed
from frostline.model.inventory import Inventory, LayerNode
from frostline.plan.heads import find_head
from frostline.plan.plan import Plan
from frostline.plan.selectors import HeadOfModel
from frostline.render.tables import count

_PLAIN = frozenset({type(None), bool, int, float, str, tuple, list, dict})
"""What most attributes are: asking a backend whether they are tensors took a third of resolving a plan."""


def notes(inventory: Inventory, trained: frozenset[str]) -> tuple[str, ...]:
    """Return the notes for a model and the addresses that a plan trains, one sentence each."""
    return (*_untracked(inventory), *_lost_penalties(inventory, trained), *_lora_bases(inventory, trained))


_LARGE_HEAD = 0.1
"""A head that holds a larger share of all elements is said: it may cost more than all the rest of a plan."""


def notes_on_head(inventory: Inventory, plan: Plan, picks: Sequence[frozenset[str]]) -> Iterator[str]:
    """Say where the word `head` picks nothing, or much of the model."""
    sizes = {w.address: w.size for w in inventory.of_role("weight")}
    for number, (rule, picked) in enumerate(zip(plan.rules, picks, strict=True), 1):
        if not isinstance(rule.selector, HeadOfModel):
            continue
        share = sum(sizes.get(address, 0) for address in picked) / max(1, sum(sizes.values()))
        if not picked:
            yield f"rule {number} ({rule}) picks nothing: {rule.selector.hint(inventory)}"
        elif rule.action == "train" and share > _LARGE_HEAD:
            yield (
                f"the head alone ({listed(sorted(picked), most=3)}) is {100 * share:.0f} % of all elements: "
                f"{find_head(inventory).why}"
            )


def _untracked(inventory: Inventory) -> Iterator[str]:
    for node in inventory.layers:
        for name in raw_variables(node.layer):
            yield (
                f"untracked: the layer {node.address or inventory.model_name!r} holds the raw array "
                f"{name!r}, which Keras neither trains nor saves; make it with self.add_weight in build"
            )


def raw_variables(layer: Any) -> list[str]:
    """Return the attributes of a layer that hold a backend's own variable instead of a `keras.Variable`."""
    import keras

    found = []
    for name, value in {**vars(layer), **getattr(layer, "_parameters", {})}.items():
        if type(value) in _PLAIN or isinstance(value, keras.Variable) or not keras.ops.is_tensor(value):
            continue
        trainable_kind = {
            "tensorflow": hasattr(value, "assign"),
            "torch": bool(getattr(value, "requires_grad", False)),
            "jax": True,
        }
        is_float = "float" in str(keras.backend.standardize_dtype(value.dtype))
        if is_float and trainable_kind.get(keras.backend.backend(), False):
            found.append(name)
    return found


def lost_penalties(inventory: Inventory, trained: frozenset[str]) -> list[str]:
    """Return the addresses of frozen weights with a regularizer, which Keras then leaves out of the loss."""
    weights = inventory.of_role("weight")
    return [
        w.address
        for w in weights
        if w.address not in trained and getattr(w.variable, "regularizer", None) is not None
    ]


def _lost_penalties(inventory: Inventory, trained: frozenset[str]) -> Iterator[str]:
    if lost := lost_penalties(inventory, trained):
        yield (
            f"the penalties of {count(len(lost), 'frozen weight')} are no longer part of the reported loss "
            f"({listed(lost, most=3)}): losses before and after freezing are not comparable"
        )


def _lora_bases(inventory: Inventory, trained: frozenset[str]) -> Iterator[str]:
    bases = [a for node in inventory.layers for a in _lora_base(node) if a in trained]
    if bases:
        yield (
            f"the plan trains the base under LoRA ({listed(bases, most=3)}); to train the adapter only, add "
            f"a rule that freezes it, such as freeze: '{bases[0]}'"
        )


def _lora_base(node: LayerNode) -> list[str]:
    if not getattr(node.layer, "lora_enabled", False):
        return []
    names = {address.rpartition("/")[2] for address in node.own}
    return [a for a in node.own if f"lora_{a.rpartition('/')[2]}_a" in names]
