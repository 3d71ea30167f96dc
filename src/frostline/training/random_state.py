"""The random state outside a model: Python's, NumPy's, PyTorch's and Keras's own."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from frostline._keras.randomness import global_seed_state, make_global_seed_state, random_seed
from frostline._keras.variables import to_numpy
from frostline.files.tensor_file import Array


@dataclass(frozen=True, slots=True)
class RandomState:
    """The state of every global random generator that decides the order of data, or what a callback draws.

    Seed generators that layers own are variables of the model and not part of this.

    Attributes:
        state: All but the arrays, as JSON has it.
        arrays: Arrays by name.
    """

    state: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(repr=False)

    @classmethod
    def now(cls) -> RandomState:
        """Return the state at this moment."""
        version, numbers, gauss = random.getstate()
        arrays = {"python": np.array(numbers, np.uint64)}
        state: dict[str, Any] = {"seed": random_seed(), "python": [version, gauss]}
        state["numpy"] = _without_arrays(np.random.get_state(legacy=False), "numpy", arrays)
        generator = global_seed_state()
        if generator is not None:
            arrays["keras"] = to_numpy(generator)
        # A DataLoader draws from PyTorch on every backend; what was never imported has drawn nothing.
        if "torch" in sys.modules:
            from frostline.backends.torch import random_state as torch_random_state

            arrays |= torch_random_state.capture()
        return cls(state, arrays)

    def restore(self) -> None:
        """Make this the state again."""
        seed = self.state["seed"]
        if seed is not None and seed != random_seed():
            # TensorFlow shuffles arrays by this seed alone. The other generators follow below.
            keras.utils.set_random_seed(seed)
        version, gauss = self.state["python"]
        random.setstate((version, tuple(int(n) for n in self.arrays["python"]), gauss))
        np.random.set_state(_with_arrays(self.state["numpy"], "numpy", self.arrays))
        if "keras" in self.arrays:
            make_global_seed_state().assign(self.arrays["keras"])
        if "torch" in self.arrays:
            from frostline.backends.torch import random_state as torch_random_state

            torch_random_state.restore({n: a for n, a in self.arrays.items() if n.startswith("torch")})


def _without_arrays(data: Any, name: str, arrays: dict[str, Array]) -> Any:
    """Return nested data without its arrays, which go to `arrays` by the path to them."""
    if isinstance(data, np.ndarray):
        arrays[name] = np.array(data)
        return None
    if isinstance(data, dict):
        return {key: _without_arrays(value, f"{name}/{key}", arrays) for key, value in data.items()}
    return data


def _with_arrays(data: Any, name: str, arrays: Mapping[str, Array]) -> Any:
    """The reverse of `_without_arrays`."""
    if name in arrays:
        return arrays[name]
    if isinstance(data, dict):
        return {key: _with_arrays(value, f"{name}/{key}", arrays) for key, value in data.items()}
    return data
