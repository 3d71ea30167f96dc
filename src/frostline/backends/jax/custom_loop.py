"""Training loops of the user's own, on JAX: steps that `jax.jit` compiled under an earlier plan."""

from __future__ import annotations

from collections.abc import Callable

import jax


class CompiledSteps:
    """Drops what was compiled under an earlier plan, so that it is traced anew under the present one."""

    stateless = True

    def plan_changed(self) -> None:
        """Let every jitted function be traced anew when it is next called.

        Rates and the places of weights are constants of a compiled step, and a plan that trains weights of
        the same shapes looks to `jax.jit` like the plan before.
        """
        jax.clear_caches()  # type: ignore[no-untyped-call]

    def run(self, update: Callable[[], None]) -> None:
        """Run an update."""
        update()


def compiled_steps() -> CompiledSteps:
    """Return what guards the steps of one loop."""
    return CompiledSteps()
