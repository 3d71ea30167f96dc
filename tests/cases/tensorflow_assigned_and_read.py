"""A value stored in a variable and read from it again: assignments carry no gradient."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"kernel": ("cut", "detached"), "memory": "trains"}
OPERATION = "assign"
X = tf.ones((2, 3))


def case():
    kernel = tf.Variable(tf.ones((3, 3)), name="kernel")
    memory = tf.Variable(tf.zeros((2, 3)), name="memory")

    def loss():
        memory.assign(X @ kernel)  # cut
        return tf.reduce_mean(memory**2)

    return loss, [kernel, memory]
