"""`tf.py_function` is recorded by the tape and has a gradient."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"kernel": "trains"}
X = tf.ones((2, 3))


def case():
    kernel = tf.Variable(tf.ones((3, 3)), name="kernel")
    return lambda: tf.reduce_mean(tf.py_function(tf.square, [X @ kernel], tf.float32)), [kernel]
