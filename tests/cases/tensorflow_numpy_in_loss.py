"""`.numpy()` in the loss: what comes back is a constant."""

import numpy as np
import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"kernel": ("cut", "left_framework"), "scale": "trains", "late": "unused"}
OPERATION = "numpy"
X = tf.ones((2, 3))


def case():
    kernel = tf.Variable(tf.ones((3, 3)), name="kernel")
    scale = tf.Variable(2.0, name="scale")
    late = tf.Variable(2.0, name="late")

    def loss():
        predicted = (X @ kernel).numpy()  # cut
        error = np.abs(predicted - 1.0)
        return tf.reduce_mean(tf.constant(error)) * scale

    return loss, [kernel, scale, late]
