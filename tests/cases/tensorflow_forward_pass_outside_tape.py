"""The first layer ran before the tape was opened; TensorFlow keeps no record of that."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"kernel": "unused", "head": "trains"}
X = tf.ones((2, 3))


def case():
    kernel = tf.Variable(tf.ones((3, 4)), name="kernel")
    head = tf.Variable(tf.ones((4, 1)), name="head")
    hidden = tf.nn.relu(X @ kernel)
    return lambda: tf.reduce_mean((hidden @ head) ** 2), [kernel, head]
