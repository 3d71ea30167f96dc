"""`tf.numpy_function` leaves TensorFlow and has no gradient."""

import numpy as np
import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"kernel": ("cut", "left_framework"), "head": "trains"}
OPERATION = "numpy_function"
X = tf.ones((2, 3))


def case():
    kernel = tf.Variable(tf.ones((3, 3)), name="kernel")
    head = tf.Variable(tf.ones((3, 1)), name="head")

    def loss():
        hidden = tf.numpy_function(np.square, [X @ kernel], tf.float32)  # cut
        return tf.reduce_mean(tf.reshape(hidden, (2, 3)) @ head)

    return loss, [kernel, head]
