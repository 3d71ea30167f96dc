"""What pytrees and modules of Flax NNX hold to be asked about."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import jax

from frostline.backends.variables_in import Found, Leaf


def variables_in(holder: Any) -> Found:
    """Return the leaves of a pytree, or those of the variables of a module of Flax NNX, by their paths.

    Of a module all of `nnx.Param` are meant to train; statistics and random states are not.
    """
    nnx = sys.modules.get("flax.nnx")  # no object is of a library that was never imported
    if nnx is not None and isinstance(holder, nnx.Module):
        return _in_module(nnx, holder)
    paths, tree = jax.tree_util.tree_flatten_with_path(holder)
    leaves = tuple(Leaf("/".join(map(key_of, path)), value) for path, value in paths)
    return Found(leaves, lambda values: jax.tree_util.tree_unflatten(tree, values), "the pytree of variables")


def _in_module(nnx: Any, module: Any) -> Found:
    graph, state = nnx.split(module)
    flat = list(nnx.to_flat_state(state))
    leaves = tuple(
        Leaf("/".join(map(str, path)), held.get_value(), isinstance(held, nnx.Param)) for path, held in flat
    )

    def made_of(values: Sequence[Any]) -> Any:
        new = [(path, held.replace(value)) for (path, held), value in zip(flat, values, strict=True)]
        return nnx.merge(graph, nnx.from_flat_state(new))

    return Found(leaves, made_of, "the module")


def key_of(entry: Any) -> str:
    """Return one step of a path as text."""
    for name in ("key", "idx", "name"):
        if hasattr(entry, name):
            return str(getattr(entry, name))
    return str(entry)
