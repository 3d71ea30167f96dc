"""What `explain` is asked about: variables by name, from whatever holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Any

import keras

from frostline.backends import dispatch
from frostline.backends.variables_in import Found, Leaf
from frostline.errors import FrostlineError, listed, near
from frostline.model.foreign_models import foreign_model
from frostline.plan.globs import read_glob


def variables_of(holder: Any) -> Found:
    """Return the variables in a list, a mapping, a nest of these, a module or a pytree, each by its name.

    Raises:
        FrostlineError: Something among them is not a variable of this backend.
    """
    holder = list(holder) if isinstance(holder, Iterator) else holder
    leaves = _named_once(_leaves(holder))
    found = dispatch.modules().variables_in(holder)
    # What is all variables of Keras, the loss function reads without being given it, on JAX too.
    if found is None or (leaves and all(isinstance(leaf.value, keras.Variable) for leaf in leaves)):
        for leaf in leaves:
            _require_variable(leaf.name, leaf.value)
        return Found(leaves)
    if any(leaf.value is holder for leaf in found.leaves):
        _require_no_foreign_model(holder)
    return Found(_named_once(found.leaves), found.made_of, found.noun)


def marked_as_frozen(patterns: str | Iterable[str], names: Collection[str]) -> set[str]:
    """Return which of some names are those, or are matched by those globs, that do not train.

    Raises:
        FrostlineError: One of the patterns picks nothing.
    """
    marked: set[str] = set()
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        if not isinstance(pattern, str):
            raise FrostlineError(
                "`frozen` holds names of variables",
                received=f"an object of type {type(pattern).__name__}",
                expected="names, or globs for names",
            )
        found = {pattern} if pattern in names else read_glob(pattern).matching(names)
        if not found:
            close = near(pattern, names)
            raise FrostlineError(
                f"no variable is named {pattern!r}, which is to be frozen",
                received=listed(names, most=8),
                remedy=f"did you mean {listed(close)}?" if close else None,
            )
        marked |= found
    return marked


def _leaves(holder: Any, above: str = "") -> Iterator[Leaf]:
    """Yield the variables in something, each by the path to it; right in a list by a name of its own."""
    members = _members(holder, top=not above)
    if members is None:
        yield Leaf(above or _name_of(holder) or "variables[0]", holder, _is_meant_to_train(holder))
        return
    for name, value in members:
        yield from _leaves(value, f"{above}/{name}" if above else name)


def _members(holder: Any, *, top: bool = False) -> list[tuple[str, Any]] | None:
    """Return what a nest or a module holds, by name; None for what is neither."""
    if isinstance(holder, keras.Variable) or hasattr(holder, "shape") or isinstance(holder, str):
        return None
    if isinstance(holder, keras.Layer):
        return [(_name_of(variable), variable) for variable in holder.weights]
    if isinstance(holder, Mapping):
        return [(str(key), value) for key, value in holder.items()]
    if isinstance(holder, list | tuple | Set) or (top and isinstance(holder, Iterable)):
        return _entries(list(holder), top)
    found = dispatch.modules().variables_in(holder)
    if found is None or found.made_of is not None:
        return None
    return [(leaf.name, leaf.value) for leaf in found.leaves]


def _entries(entries: list[Any], top: bool) -> list[tuple[str, Any]]:
    if entries and all(isinstance(e, tuple) and len(e) == 2 and isinstance(e[0], str) for e in entries):
        return list(entries)
    if not top:
        return [(str(place), value) for place, value in enumerate(entries)]
    named = ((place, value, _members(value) is None) for place, value in enumerate(entries))
    return [
        ((_name_of(value) or f"variables[{place}]") if alone else str(place), value)
        for place, value, alone in named
    ]


def _named_once(leaves: Iterable[Leaf]) -> tuple[Leaf, ...]:
    """Give a number to each further leaf of a name that another has already."""
    met: Counter[str] = Counter()
    named = []
    for leaf in leaves:
        met[leaf.name] += 1
        name = leaf.name if met[leaf.name] == 1 else f"{leaf.name}#{met[leaf.name]}"
        named.append(Leaf(name, leaf.value, leaf.trains))
    return tuple(named)


def _name_of(variable: Any) -> str:
    name = getattr(variable, "path", None) or getattr(variable, "name", None)
    return name.removesuffix(":0") if isinstance(name, str) else ""


def _is_meant_to_train(variable: Any) -> bool:
    return bool(getattr(variable, "trainable", getattr(variable, "requires_grad", True)))


def _require_variable(name: str, variable: Any) -> None:
    backend = keras.backend.backend()
    fits = isinstance(variable, keras.Variable)
    if backend == "tensorflow":
        fits = fits or (hasattr(variable, "assign") and hasattr(variable, "trainable"))
    elif backend == "torch":
        fits = fits or (hasattr(variable, "requires_grad") and bool(variable.is_leaf))
    if fits:
        return
    _require_no_foreign_model(variable)
    kinds = {
        "tensorflow": "a keras.Variable or tf.Variable",
        "torch": "a keras.Variable, torch.nn.Parameter or leaf torch.Tensor",
        "jax": "keras.Variable, or a pytree of arrays that the function takes",
    }
    raise FrostlineError(
        f"{name!r} is not a variable that gradients can be computed for",
        received=f"a {type(variable).__module__}.{type(variable).__qualname__}",
        expected=kinds.get(backend, "a keras.Variable"),
        remedy="pass what the optimizer would update, such as model.trainable_variables",
    )


def _require_no_foreign_model(holder: Any) -> None:
    foreign = foreign_model(holder)
    if foreign is not None:
        raise FrostlineError(
            f"this is {foreign.what}, of which Keras on {keras.backend.backend()} knows no variables",
            received=f"a {type(holder).__module__}.{type(holder).__qualname__}",
            expected="variables of the backend that Keras runs on",
            remedy=foreign.remedy,
        )
