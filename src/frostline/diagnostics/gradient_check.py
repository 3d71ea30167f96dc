"""`check_gradients`: automatic gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from rich.console import ConsoleRenderable

from frostline._keras.calls import computing_in, float64_kept, losses_of
from frostline.backends import dispatch
from frostline.diagnostics.model_loss import ModelLoss, tensors
from frostline.errors import AuditError, listed
from frostline.graph.reader import Computation, ReadVariable
from frostline.model.inventory import Inventory, Weight, inventory
from frostline.render.tables import Rendered, count, stacked, table

Array = npt.NDArray[Any]

_STEP = 1e-5
"""Length of a step, relative to the size of the weight: about the cube root of float64's precision, which
balances the error of the step, that falls with its square, against that of rounding."""

_SLACK = 10.0
"""How many times the expected error may be found. The expectation is an order of magnitude, not a bound."""


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """The gradient by one weight, along random directions.

    Attributes:
        address: Address of the weight.
        error: The largest difference between the two derivatives along a direction, over their size.
        expected: The error that rounding and the length of the step explain, on the same scale.
        automatic: The automatic derivative along the direction of the largest error.
        numeric: The numeric one.
        ok: Whether the error is explained.
    """

    address: str
    error: float
    expected: float
    automatic: float
    numeric: float
    ok: bool


@dataclass(frozen=True)
class GradientCheck(Rendered):
    """Automatic gradients held against finite differences. Prints as a table.

    Attributes:
        name: Name of the model or layer.
        checks: One for each weight that trains.
        dtype: The dtype that the computation ran in.
        directions: How many random directions were tried for each weight.
    """

    name: str
    checks: tuple[WeightCheck, ...]
    dtype: str
    directions: int

    @property
    def ok(self) -> bool:
        """Whether all gradients agree."""
        return all(check.ok for check in self.checks)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Addresses of the weights whose gradients do not agree."""
        return tuple(check.address for check in self.checks if not check.ok)

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (
                check.address,
                "agrees" if check.ok else "WRONG",
                f"{check.error:.1e}",
                f"{check.expected:.1e}",
                f"{check.automatic:.6g}",
                f"{check.numeric:.6g}",
            )
            for check in self.checks
        ]
        columns = ("weight", "gradient", "error", "expected", "automatic", "numeric")
        drawn = table(
            columns, rows, numbers=columns[2:], title=f"Gradients of {self.name} against finite differences"
        )
        how = f"{count(self.directions, 'random direction')} for each weight, computed in {self.dtype}"
        verdict = "all agree" if self.ok else f"wrong: {listed(self.wrong, most=4)}"
        return stacked(drawn, "", f"{verdict} ({how})")


def check_gradients(
    model: Any, x: Any, y: Any = None, *, directions: int = 8, loss: Any = None, seed: int = 0
) -> GradientCheck:
    """Hold automatic gradients against finite differences, for each weight that trains.

    The derivative along a random direction d is the gradient times d; it is also the limit of
    (f(w + hd) - f(w - hd)) / 2h. The layers compute in float64 meanwhile; the weights keep their dtype, and
    the steps that they really make, after rounding, are what is divided by. Central differences with steps h
    and 2h tell how much the length of the step matters (Richardson, 1911). Of a layer, or a model without
    loss, a fixed random weighting of the outputs is differentiated. Values of weights are put back.

    Args:
        model: A built `keras.Model` or `keras.Layer`. What is random in it draws the same at every
            evaluation.
        x: One batch of inputs.
        y: Its targets, for the compiled loss or `loss`.
        directions: How many random directions for each weight, at least 1.
        loss: The loss, in place of the compiled one, as for `audit`.
        seed: Of the directions.

    Returns:
        A `GradientCheck`.

    Raises:
        AuditError: Nothing trains, or `directions` is less than 1.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "tanh", name="head")])
        >>> check_gradients(model, np.ones((4, 3), "float32"), directions=2).ok
        True
    """
    parts = inventory(model)
    flags = {id(v) for v in model.trainable_variables}
    weights = [w for w in parts.of_role("weight") if id(w.variable) in flags and w.combination is None]
    if directions < 1 or not weights:
        raise AuditError(
            "there is no gradient to check",
            received=f"{count(len(weights), 'weight')} that train, directions={directions!r}",
            expected="at least one weight that trains, and one direction",
        )
    computation = _computation(model, parts, weights, x, y, loss)
    with _in_float64(model, parts) as dtype:
        with parts.held_state_kept():
            measured = dispatch.measure(computation)
        if measured.error:
            raise AuditError(
                f"the gradients of {model.name!r} cannot be computed", received=measured.error.splitlines()[0]
            )
        evaluate = _evaluated(computation, parts)
        generator = np.random.default_rng(seed)
        checks = []
        for weight in weights:
            gradient = measured.gradients.get(weight.address)
            dense = np.zeros(weight.shape) if gradient is None else gradient
            ways = [generator.standard_normal(weight.shape) for _ in range(directions)]
            checks.append(_checked(weight, dense, ways, evaluate, measured.loss, dtype))
    return GradientCheck(model.name, tuple(checks), dtype, directions)


def _computation(
    model: Any, parts: Inventory, weights: list[Weight], x: Any, y: Any, loss: Any
) -> Computation:
    sources = tuple(ReadVariable(w.address, w.variable) for w in weights)
    model_loss = ModelLoss(model, parts, x, y, None, loss)
    with_loss = isinstance(model, keras.Model) and (loss is not None or (model.compiled and y is not None))
    if with_loss:
        whole = model_loss.computation(w.address for w in weights)
        return Computation(whole.loss, whole.variables, whole.arguments, whole.layers)
    batch = tensors(x)
    weighting = np.random.default_rng(0)

    def projected() -> Any:
        total = 0.0
        for output in keras.tree.flatten(model(batch)):
            shares = weighting.standard_normal(tuple(output.shape))
            total = total + keras.ops.sum(output * keras.ops.convert_to_tensor(shares, output.dtype))
        return total

    def loss_fn() -> Any:
        nonlocal weighting
        weighting = np.random.default_rng(0)
        return projected()

    return Computation(loss_fn, sources)


def _evaluated(computation: Computation, parts: Inventory) -> Callable[[], float]:
    """Return a function that computes the loss at the present values, writing nothing."""

    def evaluate() -> float:
        same = dispatch.gradient_check().same_randomness()
        with keras.StatelessScope(collect_losses=True), same, parts.held_state_kept():
            value = computation.loss(*(argument.value for argument in computation.arguments))
            total = keras.ops.sum(value)
            # TensorFlow cannot turn these into NumPy arrays.
            half = keras.backend.standardize_dtype(total.dtype) in ("bfloat16", "float16")
            return float(keras.ops.convert_to_numpy(keras.ops.cast(total, "float32") if half else total))

    return evaluate


def _checked(
    weight: Weight,
    gradient: Array,
    ways: list[Array],
    evaluate: Callable[[], float],
    loss: float,
    dtype: str,
) -> WeightCheck:
    value = weight.numpy().astype("float64")
    size = max(float(np.abs(value).max(initial=0.0)), 1e-2)
    scale = float(np.linalg.norm(gradient.astype("float64"))) or 1.0
    found = []
    try:
        for way in ways:
            near, far = (_difference(weight, value, way, h * size, evaluate) for h in (_STEP, 2 * _STEP))
            automatic = float(np.sum(gradient * near[1]) / near[2])
            numeric = near[0] / near[2]
            length = float(np.linalg.norm(near[1])) / near[2]
            rounding = np.finfo(dtype).eps * (abs(loss) + 1) / near[2]
            bend = abs(numeric - far[0] / far[2]) / 3
            expected = (rounding + bend) / (scale * length) + 1e-6
            found.append((abs(automatic - numeric) / (scale * length), expected, automatic, numeric))
    finally:
        weight.variable.assign(value)
    error, expected, automatic, numeric = max(found, key=lambda one: one[0] / one[1])
    agrees = bool(error <= _SLACK * expected)
    return WeightCheck(weight.address, float(error), float(expected), automatic, numeric, agrees)


def _difference(
    weight: Weight, value: Array, way: Array, h: float, evaluate: Callable[[], float]
) -> tuple[float, Array, float]:
    """Return f(w + hd) - f(w - hd), the step between the two as the dtype rounds it, and 2h."""
    ends = []
    for sign in (1, -1):
        weight.variable.assign(value + sign * h * way)
        ends.append((evaluate(), weight.numpy().astype("float64")))
    (above, up), (below, down) = ends
    return above - below, up - down, 2 * h


@contextmanager
def _in_float64(model: Any, parts: Inventory) -> Iterator[str]:
    """Let all layers compute in float64 and yield the dtype that the backend really computes in."""
    with ExitStack() as stack:
        stack.enter_context(dispatch.gradient_check().float64_enabled())
        stack.enter_context(float64_kept())
        # Some of Keras's operations cast to this dtype, whatever they are given.
        stack.callback(keras.config.set_floatx, keras.config.floatx())
        keras.config.set_floatx("float64")
        for layer_or_loss in (*(node.layer for node in parts.layers), *losses_of(model)):
            stack.enter_context(computing_in(layer_or_loss, "float64"))
        yield str(keras.backend.standardize_dtype(keras.ops.ones((), "float64").dtype))
