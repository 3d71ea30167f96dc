"""Steps that `jax.jit` compiled under an earlier plan. Imported only where JAX is the backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def drop_stale_functions() -> None:
    """Let every jitted function be traced anew when it is next called.

    Rates and the places of weights are constants of a compiled step, and a plan that trains weights of the
    same shapes looks to `jax.jit` like the plan before.
    """
    jax.clear_caches()  # type: ignore[no-untyped-call]


def checked(check: Callable[..., None], original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `stateless_apply` that calls `check` before it is traced."""

    def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        check(optimizer_variables, grads, trainable_variables)
        return original(optimizer_variables, grads, trainable_variables)

    return stateless_apply
