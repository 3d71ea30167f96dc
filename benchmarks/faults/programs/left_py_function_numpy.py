"""`tf.py_function` calls NumPy inside: the gradient ends there, unlike that of an eager op."""

import numpy as np
import tensorflow as tf

FAULT = {
    "kind": "left framework",
    "backends": ["tensorflow"],
    "statuses": {"k": "cut"},
    "reason": ["left_framework"],
    "symptom": {"still|raises": ["k"]},
    "source": "issue 17, wrong on one backend",
}
X = tf.ones((2, 3))


def program():
    k = tf.Variable(tf.ones(3), name="k")

    def loss():
        return tf.py_function(lambda q: np.float32(np.sum(q.numpy() ** 2)), [X * k], tf.float32)  # <- here
        # mended: return tf.py_function(lambda q: tf.reduce_sum(q**2), [X * k], tf.float32)

    return loss, {"k": k}
