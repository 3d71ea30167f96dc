"""Values written to a `tf.TensorArray` in a loop, one of two without a gradient."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"kept": "trains", "rounded": ("cut", "not_differentiable")}
OPERATION = "round"


def case():
    kept = tf.Variable(tf.ones(3), name="kept")
    rounded = tf.Variable(tf.ones(3), name="rounded")

    @tf.function
    def loss():
        values = tf.TensorArray(tf.float32, size=3)
        for turn in tf.range(3):
            value = kept[turn] + tf.round(rounded[turn])  # cut
            values = values.write(turn, value)
        return tf.reduce_sum(values.stack())

    return loss, [kept, rounded]
