"""`tf.switch_case`, `tf.map_fn` and `tf.recompute_grad` are entered."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {
    "index": ("cut", "integer"),
    "first": "trains",
    "second": ("cut", "not_differentiable"),
    "mapped": "trains",
    "floored": ("cut", "not_differentiable"),
    "recomputed": "trains",
}
ROWS = tf.reshape(tf.range(6, dtype=tf.float32), (3, 2))


def case():
    index, first, second, mapped, floored, recomputed = variables = [
        tf.Variable(0.5, name=name) for name in EXPECT
    ]

    def loss():
        picked = tf.switch_case(
            tf.cast(index, tf.int32),  # cut index
            [lambda: first * 2.0, lambda: tf.math.ceil(second)],  # cut second
        )
        rows = tf.map_fn(lambda row: row * mapped + tf.floor(row * floored), ROWS)  # cut floored
        block = tf.recompute_grad(lambda x: tf.tanh(x * recomputed))
        return picked + tf.reduce_sum(block(rows))

    return loss, variables
