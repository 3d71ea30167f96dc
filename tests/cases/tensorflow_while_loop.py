"""A `tf.while_loop` stops what it carries, and not what it takes in anew at each turn."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {
    "start": ("cut", "stop_gradient", "integer"),
    "step": "trains",
    "limit": ("cut", "integer"),
    "carried": "trains",
}


def case():
    start, step, limit, carried = variables = [
        tf.Variable(value, name=name)
        for name, value in (("start", 1.0), ("step", 2.0), ("limit", 9.0), ("carried", 1.0))
    ]

    def loss():
        def more(count, value, kept):
            return value < limit  # cut

        def turn(count, value, kept):
            return count + 1, tf.stop_gradient(value) + step, kept * 2.0  # cut start

        _, value, kept = tf.while_loop(more, turn, (tf.constant(0), start * 1.0, carried * 1.0))
        return value + kept

    return loss, variables
