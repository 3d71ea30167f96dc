"""Putting a parametrization on a weight of a model, and taking it off again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from frostline._keras.layers import layer_flag, renew_parameters, set_layer_flag
from frostline._keras.methods import replace_method, restore_method
from frostline._keras.optimizers import compiled_optimizer, decay_alike
from frostline._keras.trainers import own_buffers, renew_functions, sync_values
from frostline._keras.variables import has_parts, owns, track_parts, track_whole, tracked_whole
from frostline.model.attached import Key
from frostline.model.inventory import Weight, inventory
from frostline.optimizers.rebuild import set_targets
from frostline.optimizers.state import Target, targets_of
from frostline.parametrization.base import Parametrization
from frostline.parametrization.checks import find_weight, first_values, require_possible
from frostline.parametrization.fast_paths import FastPath, fast_path, path_name
from frostline.parametrization.keras_tools import forget, tell
from frostline.parametrization.variable import become_combined, become_plain, split
from frostline.render.foreign import exact

_SAVING = ("save_own_variables", "load_own_variables")

FLAGS_SET_BY: Key[object] = Key("flags set by")
"""What last set the flags of a whole model: the decisions of a plan, attached by those who carry it out."""


@dataclass(slots=True, eq=False)
class Parametrized:
    """A weight that is a frozen base and trained parts, and the way back.

    Attributes:
        address: The weight's address.
        how: The parametrization.
        path: How layers compute with it: `lookup` (rows of an embedding, looked up), `columns` (output
            columns of their own) or `general` (the weight is put together at every step).
        trained_elements: How many numbers train.
    """

    address: str
    how: Parametrization
    path: str
    trained_elements: int
    _placed: Placed = field(repr=False)

    def remove(self, *, merge: bool = True) -> None:
        """Make the weight a plain one again; a second call does nothing.

        On a compiled model the training function and the optimizer follow.

        Args:
            merge: Whether the weight keeps what was trained; else it goes back to what it was when it was
                parametrized.
        """
        if getattr(self._placed.variable, "frostline_placed", None) is self._placed:
            self._placed.remove(keep=merge)

    def __str__(self) -> str:
        return f"{exact(self.address)}: {self.how} ({self.trained_elements:,} elements, path: {self.path})"


def parametrize(model: Any, address: str, how: Parametrization) -> Parametrized:
    """Make a weight a frozen base and a trainable part, for any weight of any layer.

    The optimizer then holds slots for the part only, and gives it the values that it would give to a weight
    of its own. All else stays: the weight has its address, shape and value; `model.save` writes a plain
    model, with the present values in it, uncompiled once it has trained, since its optimizer's slots are not
    those of plain weights; plans, fingerprints and reports see one weight. The part trains at first, even
    where the weight was frozen; a plan that is applied later decides as for any weight.

    Give the whole model that is trained: on a compiled one the training function and the optimizer follow.

    Args:
        model: A built Keras model or layer.
        address: The weight's address, such as `"tokens/embeddings"`, or one of its aliases.
        how: `Rows`, `Columns`, `Index`, `Mask`, `LowRank`, `Scale`, or one of your own.

    Returns:
        A `Parametrized`; its `remove` gives back the plain weight.

    Raises:
        ParametrizationError: There is no such weight, it cannot be parametrized, or not so. The model is as
            before.
        UnbuiltModelError: The model has no weights yet.
        OptimizerError: The optimizer cannot follow. The model is as before.

    Example:
        >>> import keras
        >>> from frostline.parametrization.selections import Rows
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(100, 8, name="tokens")])
        >>> rows = parametrize(model, "tokens/embeddings", Rows(slice(90, None)))
        >>> print(rows)
        tokens/embeddings: rows 90: (80 elements, path: lookup)
        >>> [tuple(v.shape) for v in model.trainable_variables]
        [(10, 8)]
        >>> rows.remove()
        >>> [tuple(v.shape) for v in model.trainable_variables]
        [(100, 8)]
    """
    model_inventory = inventory(model)
    weight = find_weight(model_inventory, address)
    holders = [node for node in model_inventory.layers if owns(node.layer, weight.variable)]
    require_possible(weight, holders, how)
    sync_values(model)
    combination = split(weight.variable, how, first_values(weight, how))
    placed = Placed(model, weight, combination, [node.layer for node in holders])
    placed.put_on()
    placed.renew_parameters()
    try:
        placed.let_optimizer_follow()
    except BaseException:
        placed.take_off()
        placed.renew_parameters()
        raise
    renew_functions(model)
    return Parametrized(weight.address, how, combination.path, weight.trained_size, placed)


def _as_plain(layer: Any, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that saves or loads what a layer owns, as if its weights were plain."""

    @functools.wraps(method)
    def plainly(store: Any) -> Any:
        with tracked_whole(layer):
            return method(store)

    return plainly


class Placed:
    """A combination in its place in a model: every step there, and every step back."""

    def __init__(self, model: Any, weight: Weight, combination: Any, holders: list[Any]) -> None:
        self.variable = weight.variable
        self._model = model
        self._address = weight.address
        self._combination = combination
        self._parts = list(combination.parts.values())
        self._holders: list[tuple[Any, FastPath | None]] = [
            (layer, fast_path(layer, weight.variable, combination)) for layer in holders
        ]
        combination.path = path_name(path for _, path in self._holders)
        self._kind = type(weight.variable)
        self._flag = layer_flag(model)
        self._flags_set_by = FLAGS_SET_BY.get(model)

    def put_on(self) -> None:
        """Let the layers and the weight know of it; Keras's flags and PyTorch's modules follow apart."""
        tell(self._model, (layer for layer, _ in self._holders))
        if (opt := compiled_optimizer(self._model)) is not None:
            decay_alike(opt, self.variable, self._parts)
        for layer, path in self._holders:
            track_parts(layer, self.variable, self._parts, self._combination.base)
            for method in _SAVING:
                replace_method(layer, method, functools.partial(_as_plain, layer), by="weights")
            if path is not None:
                replace_method(layer, path.method, path.make, by="weights")
        become_combined(self.variable, self._combination)
        self.variable.frostline_placed = self
        # Keras trains nothing in a model whose own flag is off, whatever the flags of its weights.
        set_layer_flag(self._model, True)

    def take_off(self) -> None:
        """Make the weight plain again, with the values of the base."""
        if FLAGS_SET_BY.get(self._model) is not self._flags_set_by:
            # A plan came or went since, and said of the part what it would have said of the weight.
            self._combination.flag = self.variable.trainable
        become_plain(self.variable, self._kind)
        del self.variable.frostline_placed
        for layer, path in self._holders:
            track_whole(layer, self.variable, self._parts, self._combination.base)
            if path is not None:
                restore_method(layer, path.method, by="weights")
            if not has_parts(layer):
                for method in _SAVING:
                    restore_method(layer, method, by="weights")
        forget(self._model, (layer for layer, _ in self._holders))
        if not self._flag and not self.variable.trainable:
            set_layer_flag(self._model, False)

    def remove(self, *, keep: bool) -> None:
        """Take it off a model in use; `keep` says whether the weight keeps what was trained."""
        sync_values(self._model)
        value = self._combination.value() if keep else None
        self.take_off()
        self.renew_parameters()
        if keep:
            self.variable.assign(value)
        self.let_optimizer_follow()
        renew_functions(self._model)

    def let_optimizer_follow(self) -> None:
        """Let the optimizer of a compiled model update what trains now; its other slots stay."""
        opt = compiled_optimizer(self._model)
        if opt is None or not opt.built:
            return
        weights = inventory(self._model).of_role("weight", "statistic")
        addresses = {id(v): address for w in weights for address, v in w.targets}
        addresses |= {id(w.variable): w.address for w in weights}
        addresses |= {id(part): f"{self._address}:{name}" for name, part in self._combination.parts.items()}
        known = {target.address: target for target in targets_of(opt) or ()}
        targets = []
        for variable in self._model.trainable_variables:
            address = addresses[id(variable)]
            before = known.get(address) or known.get(address.partition(":")[0])
            lr, decay = before.rates if before else (1.0, 1.0)
            targets.append(Target(address, variable, lr, decay))
        set_targets(opt, targets, addresses)
        own_buffers(self._model)

    def renew_parameters(self) -> None:
        """Let PyTorch's modules see the variables that the layers own now."""
        renew_parameters(node.layer for node in inventory(self._model).layers)
