"""Runs a program or its twin: trains its model by plain Keras, or takes its gradients by the backend."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from benchmarks.faults.programs import Fault

BACKEND = keras.backend.backend()
SEED = 3


@dataclass
class Made:
    """What `program()` returned: a model with its data, or a loss function with its variables."""

    fault: Fault
    module: ModuleType
    model: Any = None
    x: Any = None
    y: Any = None
    loss: Any = None
    variables: dict[str, Any] = field(default_factory=dict)
    plan: Any = None


def load(fault: Fault, *, twin: bool) -> ModuleType:
    """Run the file of a program; that of a twin is written to a folder of its own first."""
    path = fault.path
    if twin:
        path = Path(tempfile.mkdtemp(prefix="faults-")) / path.name
        path.write_text(fault.mended, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"fault_{fault.name}_{'twin' if twin else 'itself'}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Keras looks there for the class of a layer that it makes again
    spec.loader.exec_module(module)
    return module


def make(fault: Fault, *, twin: bool = False, seed: int = SEED) -> Made:
    """Load and run a program."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    module = load(fault, twin=twin)
    keras.utils.set_random_seed(seed)
    made = module.program()
    plan = module.plan() if hasattr(module, "plan") else None
    if len(made) == 2:
        return Made(fault, module, loss=made[0], variables=made[1], plan=plan)
    if BACKEND == "tensorflow":
        made[0].jit_compile = False  # XLA takes seconds for each of three hundred tiny models
    return Made(fault, module, *made, plan=plan)


def as_numpy(value: Any) -> np.ndarray:
    """The numbers of a variable of Keras or of the backend."""
    if isinstance(value, keras.Variable):
        value = value.value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.array(value)


@dataclass
class Trained:
    """A training: the weights before and after it by path, its losses, and what it raised."""

    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    losses: list[float]
    raised: str = ""
    steps: int = 1


def train(made: Made, *, y: Any = None) -> Trained:
    """Train a made program for its steps."""
    return _one_step_by_hand(made) if made.model is None else _fit(made, made.y if y is None else y)


def _fit(made: Made, y: Any) -> Trained:
    model, steps = made.model, int(made.fault.header.get("steps", 5))
    if made.plan is not None:
        import frostline as fl

        fl.apply(model, made.plan)
    before, losses, raised = weights(model), [], ""
    keras.utils.set_random_seed(SEED)  # what the training draws does not depend on what was drawn before
    try:
        fitted = model.fit(made.x, y, batch_size=batch(made.x), epochs=steps, shuffle=False, verbose=0)
        losses = [float(loss) for loss in fitted.history["loss"]]
    except Exception as error:  # whatever a framework raises is what its user sees
        raised = f"{type(error).__name__}: {str(error)[:300]}"
    # Keras on JAX takes the values out of a model while it trains, and does not put them back after an error.
    return Trained(before, before if raised else weights(model), losses, raised, steps)


def weights(model: Any) -> dict[str, np.ndarray]:
    """Every weight of a model by its path."""
    return {v.path: as_numpy(v) for v in model.weights}


def batch(x: Any) -> int:
    """How many samples an input has."""
    first = next(iter(x.values())) if isinstance(x, dict) else x[0] if isinstance(x, list) else x
    return len(first)


def _one_step_by_hand(made: Made) -> Trained:
    before = {name: as_numpy(v) for name, v in made.variables.items()}
    raised, loss, gradients = "", float("nan"), {}
    try:
        loss, gradients = GRADIENTS[BACKEND](made.loss, made.variables)
    except Exception as error:  # as above
        raised = f"{type(error).__name__}: {str(error)[:300]}"
    after = {n: v - 0.1 * gradients[n] if gradients.get(n) is not None else v for n, v in before.items()}
    return Trained(before, after, [loss], raised)


def _by_torch(loss: Any, variables: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    import torch

    tensors = {n: v.value if isinstance(v, keras.Variable) else v for n, v in variables.items()}
    value = loss()
    found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True)
    return float(value), {n: None if g is None else as_numpy(g) for n, g in zip(tensors, found, strict=True)}


def _by_tensorflow(loss: Any, variables: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    import tensorflow as tf

    own = {n: v.value if isinstance(v, keras.Variable) else v for n, v in variables.items()}
    with tf.GradientTape() as tape:
        value = loss()
    found = tape.gradient(value, own)
    return float(value), {
        n: None if g is None else np.array(tf.convert_to_tensor(g)) for n, g in found.items()
    }


def _by_jax(loss: Any, variables: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    import jax

    if not all(isinstance(v, keras.Variable) for v in variables.values()):
        value, found = jax.value_and_grad(loss)(variables)
        return float(value), {n: np.array(g) for n, g in found.items()}

    def of(values: dict[str, Any]) -> Any:
        with keras.StatelessScope(state_mapping=[(variables[n], v) for n, v in values.items()]):
            return loss()

    value, found = jax.value_and_grad(of)({n: v.value for n, v in variables.items()})
    return float(value), {n: np.array(g) for n, g in found.items()}


GRADIENTS = {"torch": _by_torch, "tensorflow": _by_tensorflow, "jax": _by_jax}
