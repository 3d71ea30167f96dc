"""Computing a loss and its gradients once on TensorFlow, and leaving every variable as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from frostline.backends.tensorflow import internals
from frostline.backends.tensorflow.host_reads import methods_replaced
from frostline.backends.tensorflow.tracing import functions_inlined, native, placed
from frostline.errors import UnsupportedVersionError, said, text_of
from frostline.graph.reader import Computation, Measured, ReadVariable
from frostline.graph.source_lines import run_user_code
from frostline.graph.watch import Watch

_WRITING = ("assign", "batch_scatter", "scatter")
"""How the methods of a variable of TensorFlow that write to it begin."""


class _RefusedError(Exception):
    """TensorFlow computes a loss and not its gradients."""


def measure(computation: Computation) -> Measured:
    """Compute the loss and the gradients of the weights once, as they come. No variable is written to.

    Where TensorFlow has no kernel for a gradient, all is compiled, as Keras's training step is: on some
    processors the gradient of a grouped convolution. Keras compiles that by itself, but is inlined here.
    """
    with internals.random_numbers_kept(), functions_inlined():
        try:
            with variables_kept():
                return _measured(*_step(computation))
        except _RefusedError as error:
            refused = text_of(error)
        except UnsupportedVersionError:
            raise
        except Exception as error:  # of the user's loss, or of TensorFlow; an audit prints it
            return _in_a_graph(computation, text_of(error).strip() or said(error))
        compiled = tf.function(lambda: _step(computation), autograph=False, jit_compile=True)
        try:
            with variables_kept():
                return _measured(*compiled.get_concrete_function()())
        except UnsupportedVersionError:
            raise
        except _RefusedError:
            return Measured(float("nan"), {}, error=refused)
        except Exception as error:
            return Measured(float("nan"), {}, error=f"{refused}; compiled by XLA: {said(error)}")


def _in_a_graph(computation: Computation, failure: str) -> Measured:
    """Measure in a graph, as Keras's training step does, where it failed outside one."""
    traced = tf.function(lambda: _step(computation), autograph=False)
    try:
        with variables_kept():
            return _measured(*traced.get_concrete_function()())
    except UnsupportedVersionError:
        raise
    except Exception:  # the first failure says more
        return Measured(float("nan"), {}, error=failure)


def _step(computation: Computation) -> tuple[Any, dict[str, Any]]:
    """Return the loss, and for each weight by its name its gradient, None where there is none."""
    targets = {s.name: native(s.variable) for s in computation.variables if s.kind == "weight"}
    targets = {name: target for name, target in targets.items() if target is not None}

    def put(value: Any, source: ReadVariable) -> Any:
        if source.kind == "weight":
            targets[source.name] = value
        return value

    arguments = [placed(argument, put) for argument in computation.arguments]
    with tf.GradientTape() as tape:
        for target in targets.values():
            tape.watch(target)
        with Watch(computation):
            loss = run_user_code(computation.loss, *arguments)
        total = tf.reduce_sum(tf.convert_to_tensor(loss))
    try:
        found = tape.gradient(total, list(targets.values()))
    except tf.errors.OpError as error:
        raise _RefusedError(error.message) from error
    return total, {n: _dense(g, t) for (n, t), g in zip(targets.items(), found, strict=True)}


def _dense(gradient: Any, target: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, target.shape[0])
    return gradient


def _measured(total: Any, gradients: Mapping[str, Any]) -> Measured:
    arrays = {name: None if one is None else np.asarray(one) for name, one in gradients.items()}
    return Measured(float(tf.cast(total, tf.float64)), arrays)


@contextmanager
def variables_kept() -> Iterator[None]:
    """Give variables of TensorFlow back the values that they had; a `Watch` does so for those of Keras."""
    held: dict[int, tuple[Any, Any]] = {}
    kind = internals.VARIABLE

    def keeping(name: str) -> Callable[..., Any]:
        usual = getattr(kind, name)

        def write(variable: Any, *arguments: Any, **options: Any) -> Any:
            if id(variable) not in held:
                with tf.init_scope():  # A compiled computation writes when it runs, after this.
                    held[id(variable)] = variable, tf.identity(variable.read_value())
            return usual(variable, *arguments, **options)

        return write

    try:
        with methods_replaced(kind, {name: keeping(name) for name in dir(kind) if name.startswith(_WRITING)}):
            yield
    finally:
        for variable, value in held.values():
            variable.assign(value)
