"""Training loops of the user's own, on PyTorch: nothing is compiled, so each step asks the plan itself."""

from __future__ import annotations

from collections.abc import Callable


class CompiledSteps:
    """Lets every update through: Python runs anew at each step."""

    stateless = False

    def plan_changed(self) -> None:
        """Do nothing."""

    def run(self, update: Callable[[], None]) -> None:
        """Run an update."""
        update()


def compiled_steps() -> CompiledSteps:
    """Return what guards the steps of one loop."""
    return CompiledSteps()
