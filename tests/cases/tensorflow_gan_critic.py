"""The critic's step of the same GAN, on images that the generator made outside of any recording."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"generator": ("cut", "stop_gradient"), "critic": "trains"}
NOISE, REAL = tf.ones((2, 3)), tf.ones((2, 3)) * 0.5


def case():
    generator = tf.Variable(tf.ones((3, 3)) * 0.1, name="generator")
    critic = tf.Variable(tf.ones((3, 1)) * 0.2, name="critic")

    @tf.function
    def loss():
        made = tf.stop_gradient(NOISE @ generator)  # cut
        return tf.reduce_mean(tf.nn.softplus(made @ critic) + tf.nn.softplus(-REAL @ critic))

    return loss, [generator, critic]
