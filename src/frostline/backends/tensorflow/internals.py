"""Every private name of TensorFlow that the reader relies on, one small function each.

Tried on TensorFlow 2.21; `tests/each_backend/backends/test_private_names.py` fails when a name goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import numpy as np
import tensorflow as tf

from frostline.backends.private import module, private

_context = module("tensorflow.python.eager.context")
_callbacks = module("tensorflow.python.framework.op_callbacks")
_core = module("tensorflow.python.eager.core")
_execute = module("tensorflow.python.eager.execute")
_fast = module("tensorflow.python.pywrap_tfe")
_lift = module("tensorflow.python.eager.lift_to_graph")
_ops = module("tensorflow.python.framework.ops")
_script_ops = module("tensorflow.python.ops.script_ops")
_random = module("tensorflow.python.ops.stateful_random_ops")

FuncGraph: Any = private(private(tf, "__internal__"), "FuncGraph")
SymbolicTensor: Any = private(private(tf, "__internal__"), "SymbolicTensor")


@contextmanager
def python_functions_inlined() -> Iterator[None]:
    """Let what `tf.py_function` is given run in the graph that is being traced, as the Python that it is.

    So its operations are seen, and where it asks for NumPy arrays, that is seen, too. What cannot run there
    stays one operation.
    """
    name = "_internal_py_func"
    usual = private(_script_ops, name)

    def inlined(func: Any, inp: Any, Tout: Any, *rest: Any, **options: Any) -> Any:  # noqa: N803
        plain = options.get("is_grad_func") or not options.get("use_eager_py_func")
        if plain or rest or tf.executing_eagerly():
            return usual(func, inp, Tout, *rest, **options)
        try:
            return _converted(func(*map(tf.convert_to_tensor, inp)), Tout)
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            return usual(func, inp, Tout, *rest, **options)

    setattr(_script_ops, name, inlined)
    try:
        yield
    finally:
        setattr(_script_ops, name, usual)


def _converted(result: Any, dtypes: Any) -> Any:
    if isinstance(dtypes, list | tuple):
        return [tf.convert_to_tensor(one, kind) for one, kind in zip(result, dtypes, strict=True)]
    return tf.convert_to_tensor(result, dtypes)


def gradient_function(operation: Any) -> Callable[..., Any] | None:
    """Return what computes the gradients of an operation, None where it is declared to have none.

    Raises:
        LookupError: TensorFlow knows no gradient for it.
    """
    found: Callable[..., Any] | None = private(_ops, "get_gradient_function")(operation)
    return found


def usual_gradient_function(operation: Any) -> Callable[..., Any] | None:
    """Return what computes the gradients of operations of its type, unless overridden for one of them."""
    registry = private(_ops, "gradient_registry")
    try:
        found: Callable[..., Any] | None = registry.lookup(operation.type)
    except LookupError:
        return None
    return found


def called_graph(operation: Any, function: Any) -> Any:
    """Return the graph of a function that an operation calls, given the value of its attribute."""
    graph = operation.graph
    while graph is not None:
        found = private(graph, "_get_function")(function.name)
        if found is not None:
            return found.graph
        graph = getattr(graph, "outer_graph", None)
    raise KeyError(function.name)


def same_handle(tensor: Any, like: Any) -> None:
    """Note on a variant or resource tensor what `like` is known to hold."""
    handle = getattr(like, "_handle_data", None)  # only tensors that refer to something have it
    if handle is not None:
        tensor._handle_data = handle


def evaluated(tensor: Any) -> Any:
    """Compute a tensor of an unfinished graph from what the graph captured."""
    captured = list(private(tensor.graph, "internal_captures"))

    def lifted() -> Any:
        graph = tf.compat.v1.get_default_graph()
        copies = private(_lift, "lift_to_graph")([tensor], graph, sources=captured, handle_captures=True)
        return copies[tensor]

    with tf.init_scope():
        return tf.function(lifted, autograph=False).get_concrete_function()()


OnOperation = Callable[[str, tuple[Any, ...], tuple[Any, ...], Sequence[Any]], None]
"""Called with the type of an operation, its inputs, its attributes and its outputs."""


@contextmanager
def every_operation(called: OnOperation) -> Iterator[None]:
    """Call a function after each operation that is run eagerly inside the block, reads of variables included.

    The fast path of TensorFlow reads a variable that an operation is given without telling anybody, so that
    the operation seems to take a constant; inside the block nothing takes it.
    """
    usual = private(_fast, "TFE_Py_FastPathExecute")

    def slowly(*_: Any) -> Any:
        raise private(_core, "_FallbackException")("operations are watched one by one")

    def callback(kind: Any, inputs: Any, attributes: Any, outputs: Any, *_: Any, **__: Any) -> None:
        called(kind.decode() if isinstance(kind, bytes) else kind, tuple(inputs), attributes, outputs)

    private(_callbacks, "add_op_callback")(callback)
    _fast.TFE_Py_FastPathExecute = slowly
    try:
        yield
    finally:
        _fast.TFE_Py_FastPathExecute = usual
        private(_callbacks, "remove_op_callback")(callback)


def run_again(kind: str, inputs: Sequence[Any], attributes: tuple[Any, ...], outputs: int) -> list[Any]:
    """Run an operation that `every_operation` saw once more, on the record of the tapes that are open."""
    made = private(_execute, "execute")(
        kind.encode(), outputs, list(inputs), attributes, private(_context, "context")()
    )
    private(_execute, "record_gradient")(kind, list(inputs), attributes, made)
    return list(made)


FUNCTION: type = type(tf.function(lambda: None))
"""The class of what `tf.function` makes."""

VARIABLE: Any = type(tf.Variable(0.0, trainable=False))
"""The class of ordinary variables, of which `tf.Variable` is a base."""


def wants_autograph(function: Any) -> bool:
    """Whether a function made by `tf.function` has its Python loops and conditions translated."""
    return bool(private(function, "_autograph"))


def with_autograph(python: Callable[..., Any]) -> Callable[..., Any]:
    """Return a Python function with its loops and conditions translated."""
    autograph = private(private(tf, "__internal__"), "autograph")
    status = private(autograph, "control_status_ctx")()
    translated: Callable[..., Any] = private(autograph, "tf_convert")(python, status, user_requested=True)
    return translated


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Let what is drawn inside leave TensorFlow's global generators as they were.

    The kernels of the older random operations count by themselves, one for each pair of seeds. Another global
    seed keeps them from counting on.
    """
    eager = private(_context, "context")()
    seeds = private(eager, "_seed"), getattr(eager, "_rng", None)  # it has none before a seed was set
    generator = private(_random, "global_generator")
    # A copy: drawing changes the state in place, also for those who have read it.
    state = np.array(generator.state) if generator is not None else None
    if seeds[1] is not None:
        eager._seed, eager._rng = ~int(seeds[0]) & 0x7FFFFFFF, Random(0)
    try:
        yield
    finally:
        if seeds[1] is not None:
            eager._seed, eager._rng = seeds
        if generator is not None:
            generator.state.assign(state)
