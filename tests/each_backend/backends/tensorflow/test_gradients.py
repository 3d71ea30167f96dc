"""What the reader for TensorFlow says of single operations, beside the gradients that TensorFlow gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("reads TensorFlow's graphs", allow_module_level=True)

import tensorflow as tf

from frostline.backends.dispatch import measure, trace
from frostline.graph.flow import Flow
from frostline.graph.reader import Computation, ReadVariable

pytestmark = pytest.mark.every_backend

ONE: dict[str, Callable[[Any], Any]] = {
    "abs": tf.abs,
    "argmax": lambda x: tf.argmax(x, axis=1),
    "argsort": lambda x: tf.cast(tf.argsort(x), tf.float32),
    "avg_pool": lambda x: tf.nn.avg_pool2d(x[None, :, :, None], 2, 1, "VALID"),
    "batch_norm": lambda x: tf.nn.batch_normalization(x, *tf.nn.moments(x, [0]), 0.1, 2.0, 1e-3),
    "boolean_mask": lambda x: tf.boolean_mask(x, x > 1.2),
    "broadcast_to": lambda x: tf.broadcast_to(x, (2, 3, 3)),
    "cast_to_double": lambda x: tf.cast(x, tf.float64),
    "cast_to_int": lambda x: tf.cast(tf.cast(x, tf.int32), tf.float32),
    "ceil": tf.math.ceil,
    "cholesky": lambda x: tf.linalg.cholesky(x @ tf.transpose(x) + tf.eye(3)),
    "clip": lambda x: tf.clip_by_value(x, 0.5, 1.5),
    "complex_abs": lambda x: tf.abs(tf.complex(x, x * 2)),
    "conv": lambda x: tf.nn.conv2d(x[None, :, :, None], tf.ones((2, 2, 1, 1)), 1, "SAME"),
    "cosine": tf.cos,
    "cumulative_maximum": lambda x: tf.scan(tf.maximum, x),
    "cumsum": tf.cumsum,
    "depth_to_space": lambda x: tf.nn.space_to_depth(tf.pad(x, [[0, 1], [0, 1]])[None, :, :, None], 2),
    "determinant": tf.linalg.det,
    "dropout": lambda x: tf.nn.dropout(x, 0.1, seed=1),
    "einsum": lambda x: tf.einsum("ij,kj->ik", x, x),
    "equal": lambda x: tf.cast(x == 1.0, tf.float32),
    "erf": tf.math.erf,
    "exp": tf.exp,
    "fft": lambda x: tf.abs(tf.signal.rfft(x)),
    "floor": tf.floor,
    "floor_divide": lambda x: x // 0.3,
    "floor_modulo": lambda x: x % 0.3,
    "gather": lambda x: tf.gather(x, [0, 2]),
    "gather_nd": lambda x: tf.gather_nd(x, [[0, 1], [2, 2]]),
    "histogram": lambda x: tf.cast(tf.histogram_fixed_width(x, [0.0, 2.0]), tf.float32),
    "in_top_k": lambda x: tf.cast(tf.math.in_top_k([0, 1, 2], x, 1), tf.float32),
    "inverse": tf.linalg.inv,
    "is_finite": lambda x: tf.cast(tf.math.is_finite(x), tf.float32),
    "lgamma": tf.math.lgamma,
    "log_softmax": tf.nn.log_softmax,
    "lower_upper": lambda x: tf.linalg.lu(x)[0],
    "matmul": lambda x: x @ x,
    "max_pool": lambda x: tf.nn.max_pool2d(x[None, :, :, None], 2, 1, "VALID"),
    "maximum": lambda x: tf.maximum(x, 1.0),
    "norm": tf.norm,
    "one_hot": lambda x: tf.one_hot(tf.argmax(x, 1), 3),
    "ones_like": lambda x: tf.ones_like(x) * tf.shape(x, out_type=tf.int32).shape[0],
    "pad": lambda x: tf.pad(x, [[1, 1], [0, 0]]),
    "power": lambda x: x**3.0,
    "product": lambda x: tf.reduce_prod(x, axis=1),
    "qr": lambda x: tf.linalg.qr(x)[1],
    "ragged": lambda x: tf.reduce_sum(tf.RaggedTensor.from_row_lengths(x, [1, 2]), axis=1),
    "random_around": lambda x: x + tf.random.normal((3, 3), seed=1),
    "relu6": tf.nn.relu6,
    "resize": lambda x: tf.image.resize(x[:, :, None], (5, 5)),
    "resize_nearest": lambda x: tf.image.resize(x[:, :, None], (6, 6), method="nearest"),
    "reverse": lambda x: tf.reverse(x, [0]),
    "rint": tf.math.rint,
    "roll": lambda x: tf.roll(x, 1, 0),
    "round": tf.round,
    "scatter_nd": lambda x: tf.scatter_nd([[0], [3], [4]], x, (5, 3)),
    "searchsorted": lambda x: tf.cast(tf.searchsorted([0.5, 1.0], x[0]), tf.float32),
    "segment_mean": lambda x: tf.math.segment_mean(x, [0, 0, 1]),
    "shape": lambda x: tf.cast(tf.shape(x), tf.float32),
    "sigmoid_loss": lambda x: tf.nn.sigmoid_cross_entropy_with_logits(tf.ones((3, 3)), x),
    "sign": tf.sign,
    "size": lambda x: tf.cast(tf.size(x), tf.float32),
    "softmax_loss": lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 2], x),
    "sort": tf.sort,
    "space_to_batch": lambda x: tf.space_to_batch(x[None, :2, :2, None], [2, 2], [[0, 0], [0, 0]]),
    "split": lambda x: tf.split(x, 3)[1] * 2.0,
    "squared_difference": lambda x: tf.math.squared_difference(x, 1.0),
    "stop_gradient": tf.stop_gradient,
    "strided_slice": lambda x: x[::2, 1:],
    "svd": lambda x: tf.linalg.svd(x, compute_uv=False),
    "tensor_scatter": lambda x: tf.tensor_scatter_nd_update(x, [[0, 0]], x[2, 2:]),
    "tile": lambda x: tf.tile(x, (2, 1)),
    "top_k_indices": lambda x: tf.cast(tf.math.top_k(x, 2)[1], tf.float32),
    "top_k_values": lambda x: tf.math.top_k(x, 2)[0],
    "transpose": tf.transpose,
    "truncated_division": lambda x: tf.truncatediv(tf.cast(x, tf.int32), 2),
    "unique": lambda x: tf.unique(tf.reshape(x, (-1,)))[0],
    "unstack": lambda x: tf.unstack(x)[2],
    "where_condition": lambda x: tf.where(x > 1.0, 2.0, 3.0),
    "where_branch": lambda x: tf.where(x > 1.0, x, 3.0),
    "zeros_like": tf.zeros_like,
    "zeta": lambda x: tf.math.zeta(x + 2.0, 1.5),
}


def values() -> Any:
    return tf.constant(np.linspace(0.6, 1.9, 9, dtype="float32").reshape(3, 3)[:, [2, 0, 1]])


@pytest.mark.parametrize("name", ONE)
def test_an_operation_is_live_where_tensorflow_gives_a_gradient(name: str) -> None:
    variable = tf.Variable(values(), name="variable")
    weights = tf.Variable(1.0, name="weights")

    def loss() -> Any:
        made = ONE[name](variable)
        made = made if made.dtype.is_floating else tf.cast(made, tf.float32)
        factors = tf.cast(1 + tf.range(tf.size(made)), made.dtype)
        return tf.cast(tf.reduce_sum(tf.reshape(made, (-1,)) * factors), tf.float32) * weights

    computation = Computation(loss, (ReadVariable("variable", variable), ReadVariable("weights", weights)))
    seen = trace(computation)
    flow, indexes = Flow(seen.graph), seen.graph.weights
    measured = measure(computation)

    if measured.error:
        assert seen.error
        assert flow.structural_status(indexes["variable"]) == "cut"
        return
    assert not seen.error
    assert flow.structural_status(indexes["weights"]) == "trains"
    gradient = measured.gradients["variable"]
    live = gradient is not None and bool(np.any(gradient))
    assert (flow.structural_status(indexes["variable"]) == "trains") == live
