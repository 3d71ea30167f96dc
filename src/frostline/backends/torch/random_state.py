"""The state of PyTorch's own random generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def capture() -> dict[str, npt.NDArray[Any]]:
    """Return the state of the generator of the processor, and of each GPU in use, by name."""
    states = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states |= {f"torch/{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    return {name: np.array(state.numpy()) for name, state in states.items()}


def restore(states: dict[str, npt.NDArray[Any]]) -> None:
    """Put back what `capture` returned; GPUs that are not there are passed over."""
    torch.set_rng_state(torch.from_numpy(states["torch"].copy()))
    for n in range(torch.cuda.device_count() if len(states) > 1 else 0):
        if f"torch/{n}" in states:
            torch.cuda.set_rng_state(torch.from_numpy(states[f"torch/{n}"].copy()), n)
