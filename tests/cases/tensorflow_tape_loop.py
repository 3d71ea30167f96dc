"""A loop of one's own over raw variables: one trains, one is stopped by hand, one is frozen by its flag."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"kernel": "trains", "teacher": ("cut", "stop_gradient"), "frozen": "frozen"}
OPERATION = "stop_gradient"
X = tf.ones((2, 3))


def case():
    kernel = tf.Variable(tf.ones((3, 3)), name="kernel")
    teacher = tf.Variable(tf.ones((3, 3)) * 2.0, name="teacher")
    frozen = tf.Variable(tf.ones(3), trainable=False, name="frozen")

    def loss():
        target = tf.stop_gradient(X @ teacher)  # cut
        return tf.reduce_mean((X @ kernel + frozen - target) ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    kernel.assign_sub(0.1 * tape.gradient(value, kernel))
    return loss, [kernel, teacher, frozen]
