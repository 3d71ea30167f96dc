"""`check_gradients`: automatic gradients against finite differences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from rich.console import ConsoleRenderable

from frostline._keras.calls import computing_in, float64_kept, losses_of
from frostline.backends import dispatch
from frostline.diagnostics.computed_dtype import narrowest, precision
from frostline.diagnostics.explanation import said_at
from frostline.diagnostics.model_loss import ModelLoss, tensors
from frostline.errors import AuditError, listed
from frostline.graph.ir import Node
from frostline.graph.reader import Computation, ReadVariable
from frostline.model.inventory import Inventory, Weight, inventory
from frostline.model.task_data import as_trained
from frostline.render.progress import progress
from frostline.render.tables import Rendered, count, stacked, table

Array = npt.NDArray[Any]

_SECONDS = 60.0
"""After so long no further direction is begun."""

_SLACK = 10.0
"""How many times the expected error may be found. The expectation is an order of magnitude, not a bound."""

_NOTHING_TOLD = 0.05
"""Where an error of this share of the gradient is expected, agreement shows nothing."""


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
        directions: Along how many directions it was tried.
        told: Whether the numbers are fine enough to show a wrong gradient at all.
    """

    address: str
    error: float
    expected: float
    automatic: float
    numeric: float
    ok: bool
    directions: int = 0
    told: bool = True

    @property
    def verdict(self) -> str:
        """The answer in a word or two."""
        return ("agrees" if self.ok else "WRONG") if self.told else "not told"


@dataclass(frozen=True)
class GradientCheck(Rendered):
    """Automatic gradients held against finite differences. Prints as a table.

    Attributes:
        name: Name of the model or layer.
        checks: One for each weight that was checked.
        dtype: The smallest dtype that the computation ran in, from a weight to the loss.
        directions: How many random directions were to be tried for each weight.
        without_loss: Whether a random weighting of the outputs stood in for the loss.
        narrowed: Where it runs in less than float64, in words; `""` where it does not.
        unchecked: Addresses of weights that there was no time for.
    """

    name: str
    checks: tuple[WeightCheck, ...]
    dtype: str
    directions: int
    without_loss: bool = False
    narrowed: str = ""
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all gradients were checked and agree."""
        return not self.unchecked and all(check.ok and check.told for check in self.checks)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Addresses of the weights whose gradients do not agree."""
        return tuple(check.address for check in self.checks if check.told and not check.ok)

    @property
    def untold(self) -> tuple[str, ...]:
        """Addresses of the weights of which rounding hides whether their gradients agree."""
        return tuple(check.address for check in self.checks if not check.told)

    def __rich__(self) -> ConsoleRenderable:
        rows = [
            (
                check.address,
                check.verdict,
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
        return stacked(drawn, "", f"{self._verdict()} ({self._how()})", *self._left())

    def _verdict(self) -> str:
        if self.wrong:
            return f"wrong: {listed(self.wrong, most=4)}"
        return "all agree" if self.ok else "none seen to be wrong"

    def _how(self) -> str:
        tried = min((check.directions for check in self.checks), default=0)
        of = f"{tried} of " if tried < self.directions else ""
        return f"{of}{count(self.directions, 'random direction')} for each weight, computed in {self.dtype}"

    def _left(self) -> Iterator[str]:
        """Yield what was not checked, and why."""
        if self.without_loss:
            yield "note: without loss and targets: a random weighting of the outputs stood in for the loss"
        if self.narrowed:
            yield f"note: {self.narrowed}: an error below its rounding does not show"
        if self.untold:
            yield f"note: not told, since rounding hides these gradients: {listed(self.untold, most=4)}"
        if self.unchecked:
            yield f"note: not checked, since the time was up: {listed(self.unchecked, most=4)}"
        elif any(check.directions < self.directions for check in self.checks):
            yield "note: the time was up before all directions were tried; seconds=None tries them all"


def check_gradients(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    directions: int = 8,
    loss: Any = None,
    seed: int = 0,
    seconds: float | None = _SECONDS,
) -> GradientCheck:
    """Hold automatic gradients against finite differences, for each weight that trains.

    The derivative along a random direction d is the gradient times d; it is also the limit of
    (f(w + hd) - f(w - hd)) / 2h. The layers and losses compute in float64 meanwhile; the weights keep their
    dtype, and the steps that they really make, after rounding, are what is divided by. Where something on
    the way casts to less all the same, that is said, and steps and expected errors are those of that dtype.
    Central differences with steps h and 2h tell how much the length of the step matters (Richardson, 1911).
    Of a layer, or a model without loss or targets, a fixed random weighting of the outputs is
    differentiated, and that is said. Values of weights are put back. Each weight is tried along one
    direction first, then each along another: what there was no time for is listed. A bar shows how far it
    is, where a terminal is.

    Args:
        model: A built `keras.Model` or `keras.Layer`. What is random in it draws the same at every
            evaluation.
        x: One batch of inputs.
        y: Its targets, for the compiled loss or `loss`.
        directions: How many random directions for each weight, at least 1.
        loss: The loss, in place of the compiled one, as for `audit`.
        seed: Of the directions.
        seconds: After so long no further direction is begun; None for no limit.

    Returns:
        A `GradientCheck`.

    Raises:
        AuditError: Nothing trains, `directions` is less than 1, or `loss` needs targets and there are none.

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
    with _in_float64(model, parts, loss) as dtype:
        with parts.held_state_kept():
            narrow = narrowest(dispatch.trace(computation).graph)
        with parts.held_state_kept():
            measured = dispatch.measure(computation)
        if measured.error:
            raise AuditError(
                f"the gradients of {model.name!r} cannot be computed", received=measured.error.splitlines()[0]
            )
        dtype = narrow.dtype if narrow and precision(narrow.dtype) > precision(dtype) else dtype
        differences = _Differences(_evaluated(computation, parts), measured.loss, precision(dtype))
        ways = _Ways(weights, measured.gradients, differences, seed)
        ways.try_all(directions, None if seconds is None else time.monotonic() + seconds)
    return GradientCheck(
        model.name,
        tuple(ways.check(weight) for weight in weights if ways.found[weight.address]),
        dtype,
        directions,
        not _with_loss(model, y, loss),
        "" if narrow is None else _narrowed(narrow),
        tuple(weight.address for weight in weights if not ways.found[weight.address]),
    )


def _narrowed(node: Node) -> str:
    place = said_at(f"{node.operation} gives {node.dtype}", node.layer, node.where)
    return f"computed in {node.dtype}, not in float64 throughout: {place}"


def _computation(
    model: Any, parts: Inventory, weights: list[Weight], x: Any, y: Any, loss: Any
) -> Computation:
    sources = tuple(ReadVariable(w.address, w.variable) for w in weights)
    x, y, sample_weight = as_trained(model, x, y)
    model_loss = ModelLoss(model, parts, x, y, sample_weight, loss)
    if _with_loss(model, y, loss):
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


def _with_loss(model: Any, y: Any, loss: Any) -> bool:
    compiled = getattr(model, "compiled", False) and y is not None
    return isinstance(model, keras.Model) and (loss is not None or compiled)


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


class _Along(NamedTuple):
    """The two derivatives along one direction."""

    error: float
    expected: float
    automatic: float
    numeric: float


@dataclass(frozen=True, slots=True)
class _Differences:
    """Compares a gradient with finite differences.

    Attributes:
        evaluate: Computes the loss at the present values.
        loss: The loss.
        precision: That of the dtype that it is computed in.
    """

    evaluate: Callable[[], float]
    loss: float
    precision: float

    @property
    def _step(self) -> float:
        """Length of a step, relative to the size of the weight.

        About the cube root of the precision balances the error of the step, that falls with its square,
        against that of rounding.
        """
        return 1.65 * float(np.cbrt(self.precision))

    def along(self, weight: Weight, value: Array, gradient: Array, way: Array) -> _Along:
        """Compare the derivatives of the loss by one weight along one direction."""
        # A bias of zeros is stepped along as if it were of some size: the coarser the numbers, the larger.
        size = max(float(np.abs(value).max(initial=0.0)), 1e-2 if self.precision < 1e-10 else 0.2)
        scale = float(np.linalg.norm(gradient.astype("float64"))) or 1.0
        h = self._step * size
        change, moved, width = self._difference(weight, value, way, h)
        length = float(np.linalg.norm(moved)) / width
        automatic, numeric = float(np.sum(gradient * moved) / width), change / width
        unit = scale * length or 1.0
        error = abs(automatic - numeric) / unit
        expected = self.precision * (abs(self.loss) + 1) / width / unit + max(1e-6, 4 * self.precision)
        if error > expected:  # else the length of the step need not be known to matter
            further, _, wider = self._difference(weight, value, way, 2 * h)
            expected += abs(numeric - further / wider) / 3 / unit
        return _Along(error, expected, automatic, numeric)

    def _difference(self, weight: Weight, value: Array, way: Array, h: float) -> tuple[float, Array, float]:
        """Return f(w + hd) - f(w - hd), the step between the two as the dtype rounds it, and 2h."""
        ends = []
        try:
            for sign in (1, -1):
                weight.variable.assign(value + sign * h * way)
                ends.append((self.evaluate(), weight.numpy().astype("float64")))
        finally:
            weight.variable.assign(value)
        (above, up), (below, down) = ends
        return above - below, up - down, 2 * h


@dataclass(frozen=True, slots=True)
class _Ways:
    """What was found along random directions, by address of the weight."""

    weights: list[Weight]
    gradients: Mapping[str, Array | None]
    differences: _Differences
    seed: int
    found: dict[str, list[_Along]] = field(default_factory=dict)

    def try_all(self, directions: int, until: float | None) -> None:
        """Try each weight along a first direction, then each along a second, as long as there is time."""
        generator = np.random.default_rng(self.seed)
        self.found.update({weight.address: [] for weight in self.weights})
        with progress("checking gradients", directions * len(self.weights)) as done:
            for _ in range(directions):
                for weight in self.weights:
                    if until is not None and time.monotonic() > until:
                        return
                    self._try(weight, generator.standard_normal(weight.shape))
                    done(weight.address)

    def _try(self, weight: Weight, way: Array) -> None:
        gradient = self.gradients.get(weight.address)
        dense = np.zeros(weight.shape) if gradient is None else gradient
        value = weight.numpy().astype("float64")
        self.found[weight.address].append(self.differences.along(weight, value, dense, way))

    def check(self, weight: Weight) -> WeightCheck:
        """Return what all directions say together."""
        found = self.found[weight.address]
        worst = max(found, key=lambda one: one.error / one.expected)
        agrees = bool(worst.error <= _SLACK * worst.expected)
        # Where rounding is all that is seen, neither answer means anything.
        told = min(one.expected for one in found) < _NOTHING_TOLD
        error, expected, automatic, numeric = map(float, worst)
        return WeightCheck(weight.address, error, expected, automatic, numeric, agrees, len(found), told)


@contextmanager
def _in_float64(model: Any, parts: Inventory, loss: Any) -> Iterator[str]:
    """Let all layers and losses compute in float64 and yield the dtype that the backend computes in."""
    with ExitStack() as stack:
        stack.enter_context(dispatch.gradient_check().float64_enabled())
        stack.enter_context(float64_kept())
        # Some of Keras's operations cast to this dtype, whatever they are given.
        stack.callback(keras.config.set_floatx, keras.config.floatx())
        keras.config.set_floatx("float64")
        given = [loss] if isinstance(loss, keras.losses.Loss) else []
        for layer_or_loss in (*(node.layer for node in parts.layers), *losses_of(model), *given):
            stack.enter_context(computing_in(layer_or_loss, "float64"))
        yield str(keras.backend.standardize_dtype(keras.ops.ones((), "float64").dtype))
